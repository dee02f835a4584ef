"""Why an engine failed, in one of a few classes and one line, read from the end of its log."""

from __future__ import annotations

import re
import signal

__all__ = [
    "BAD_OPTION",
    "CLIENT_ERRORS",
    "CRASHED_UNDER_LOAD",
    "DOES_NOT_START",
    "METRIC_MISSING",
    "MODEL_NOT_FOUND",
    "NO_CRASH",
    "OUT_OF_MEMORY",
    "PORT_IN_USE",
    "TIMEOUT",
    "classify",
    "root_cause",
    "wants_more_cache",
]

OUT_OF_MEMORY = "out of memory"
PORT_IN_USE = "port in use"
BAD_OPTION = "bad option"
MODEL_NOT_FOUND = "model not found"
DOES_NOT_START = "does not start"
CRASHED_UNDER_LOAD = "crashed under load"
TIMEOUT = "timeout"
CLIENT_ERRORS = "client errors"
METRIC_MISSING = "metric missing"
NO_CRASH = frozenset({TIMEOUT, CLIENT_ERRORS, PORT_IN_USE, METRIC_MISSING})
"""Failures that say nothing about the memory or the options of a configuration."""

LONGEST_CAUSE = 400
USAGE_ERROR = 2
"""What argparse, click and getopt programs exit with when they do not know an option."""
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
"""As a parent and as a shell see it; nobody else sends SIGKILL to an engine as often as the kernel."""

SIGNS = {
    PORT_IN_USE: (
        r"address already in use",
        r"errno 98\b",
        r"\bport\b.*\b(?:already )?in use",
        r"\bsocket\b.*\balready in use",
    ),
    OUT_OF_MEMORY: (
        r"\bMemoryError\b",
        r"\bOutOfMemory",
        r"out of memory",
        r"cannot allocate memory",
        r"can't allocate memory",
        r"std::bad_alloc",
        r"available (?:kv cache )?memory\b.*\b(?:less|larger|more) than",
        r"(?:less|larger|more) than (?:the )?available (?:kv cache )?memory",
        r"no available memory for the cache",
    ),
    MODEL_NOT_FOUND: (
        r"\b(?:ModelNotFound|CheckpointError)\b",
        r"repo id must be",
        r"HFValidationError",
        r"RepositoryNotFoundError",
        r"LocalEntryNotFoundError",
        r"is not a local folder and is not a valid model identifier",
        r"unrecognized processing class",
        r"unrecognized model in",
        r"does not appear to have a file named",
        r"can't load (?:the )?(?:configuration|config|tokenizer|model)",
        r"failed to stat file",
        r"failed to load all models",
    ),
    BAD_OPTION: (
        r"unrecognized (?:arguments|options?)",
        r"no such option",
        r"unknown (?:option|argument|parameter)",
        r"unexpected (?:option|extra argument)",
        r"invalid (?:option|choice|value)",
        r"(?:error: argument|expected one argument|required option|missing option)",
        r"(?<!HF)ValidationError",
        r"\bvalue error,",
        r"\bunsupported (?:dtype|value|option)",
        r"no common block size",
    ),
}
"""Lower classes yield to higher ones where a log shows several: a full port or memory ends any start."""

PATTERNS = {failure: re.compile("|".join(signs), re.IGNORECASE) for failure, signs in SIGNS.items()}
KNOWN = re.compile("|".join(sign for signs in SIGNS.values() for sign in signs), re.IGNORECASE)
USAGE = re.compile(r"^usage:", re.IGNORECASE | re.MULTILINE)
WORKER = re.compile(r"Worker failed with error ")
EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|NotFound|Interrupt)\b: *\S")
WRAPPER = re.compile(r"engine core initialization failed|see root cause above|cancelled", re.IGNORECASE)
COMPLAINT = re.compile(r"\b(?:error|fatal|failed|failure|cannot)\b", re.IGNORECASE)
CACHE_TOO_SMALL = re.compile(
    r"(?:larger|more) than (?:the )?available kv cache memory|no available memory for the cache", re.IGNORECASE
)
"""Classified as out of memory like the others, and the opposite of them for who sizes the cache."""
PREFIX = re.compile(
    r"^(?:\([^()]*\bpid=\d+\)\s*)?"
    r"(?:(?P<level>ERROR|CRITICAL|FATAL|WARNING|INFO|DEBUG|[EWI]\d{4})\b:?\s*"
    r"(?:\d{2}-\d{2}[ T])?(?:[\d:.]{8,}\s+)?(?:\d+\s+)?(?:\[[\w./-]+:\d+\]|\S+\.\w+:\d+\])?\s*)?"
)
"""What loggers put before a message: vLLM's process and place, uvicorn's level, glog's letter and time."""


def classify(log_tail: str, returncode: int | None) -> str:
    """Return the class of a failed start; *returncode* is None where the engine still runs."""
    for text in (root_cause(log_tail), log_tail):
        for failure, pattern in PATTERNS.items():
            if pattern.search(text):
                return failure
    if returncode in KILLED:
        return OUT_OF_MEMORY
    if returncode == USAGE_ERROR or (returncode is not None and USAGE.search(log_tail)):
        return BAD_OPTION
    return DOES_NOT_START


def root_cause(log_tail: str) -> str:
    """Return the one line that says most about why the engine failed.

    It is seldom the last: vLLM ends with "see root cause above" and warnings, and the worker's
    own error stands first. In an ordinary log the last line that names a known cause or an
    exception counts.
    """
    lines = [line.strip() for line in log_tail.splitlines() if line.strip()]
    messages = [PREFIX.sub("", line).strip() or line for line in lines]
    logged_errors = [m for line, m in zip(lines, messages, strict=True) if _is_logged_error(line) and _is_exception(m)]
    choices = (
        [m for m in messages if WORKER.search(m)][-1:],
        logged_errors[:1],
        [m for m in messages if KNOWN.search(m)][-1:],
        [m for m in messages if _is_exception(m)][-1:],
        [m for m in messages if COMPLAINT.search(m)][-1:],
        messages[-1:],
    )
    found = next((choice[0] for choice in choices if choice), "its log is empty")
    return found if len(found) <= LONGEST_CAUSE else f"{found[: LONGEST_CAUSE - 1]}…"


def wants_more_cache(cause: str) -> bool:
    """Say whether memory ran out because too little of it was set apart for the cache: then more of that helps."""
    return CACHE_TOO_SMALL.search(cause) is not None


def _is_logged_error(line: str) -> bool:
    match = PREFIX.match(line)
    return match is not None and match["level"] in ("ERROR", "CRITICAL", "FATAL")


def _is_exception(message: str) -> bool:
    return EXCEPTION.search(message) is not None and not WRAPPER.search(message)
