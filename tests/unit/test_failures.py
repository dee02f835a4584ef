"""What the logs of real engines say about their end, and which line says it."""

from __future__ import annotations

import pytest

from pytest_msprof.failures import (
    BAD_OPTION,
    DOES_NOT_START,
    MODEL_NOT_FOUND,
    OUT_OF_MEMORY,
    PORT_IN_USE,
    classify,
    root_cause,
)

REPO_ID = "Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/nonexistent/model'."
NODE_MEMORY = (
    "Available memory on node 0 (21.39/23.54 GiB) on kv cache allocation is less than requested memory for kv "
    "(400.0 GiB). Decrease --kv-cache-memory-bytes"
)
WORKER_FAILED = (
    "Worker failed with error 'No common block size for 7 (CPU_ATTN: [MultipleOf(32)])', "
    "please check the stack trace above"
)
CACHE_TOO_SMALL = (
    "To serve at least one request with the model's max seq len (4096), (0.01 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (0.0 GiB)"
)
QUOTED = [
    (
        "[Errno 98] error while attempting to bind on address ('127.0.0.1', 8101): address already in use",
        3,
        PORT_IN_USE,
    ),
    (f"OSError: {REPO_ID}", 1, MODEL_NOT_FOUND),
    ("ValueError: Unrecognized processing class in models/empty. Can't instantiate a processor", 1, MODEL_NOT_FOUND),
    ("Error: No such option '--no-such-option'.", 2, BAD_OPTION),
    ("Did you mean: --no-compile?", 2, BAD_OPTION),
    ("ValueError: Unsupported dtype: 'nope'. Must be 'auto' or a valid torch dtype", 1, BAD_OPTION),
    ("MemoryError: Memory footprint 900 is more than available memory 800", None, OUT_OF_MEMORY),
    ("OSError: [Errno 98] Address already in use", 1, PORT_IN_USE),
    (f"huggingface_hub.errors.HFValidationError: {REPO_ID}", 1, MODEL_NOT_FOUND),
    ("vllm: error: unrecognized arguments: --no-such-option 1", 2, BAD_OPTION),
    ("  Value error, User-specified max_model_len (100000) is greater than the derived", 1, BAD_OPTION),
    (f"RuntimeError: {WORKER_FAILED}", 1, BAD_OPTION),
    (f"ValueError: {NODE_MEMORY}", 1, OUT_OF_MEMORY),
    (f"ValueError: {CACHE_TOO_SMALL}", 1, OUT_OF_MEMORY),
    ("ERROR: [Errno 98] error while attempting to bind on address: address already in use", None, PORT_IN_USE),
    ("sglang serve: error: unrecognized arguments: --no-such-option", 2, BAD_OPTION),
    ("failed to start HTTP service: Unavailable - Socket '127.0.0.1:46343' already in use", 1, PORT_IN_USE),
    ("error: creating server: Internal - failed to stat file models/none", 1, MODEL_NOT_FOUND),
    ("error: creating server: Internal - failed to load all models", 1, MODEL_NOT_FOUND),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", 1, OUT_OF_MEMORY),
    ("RuntimeError: NPU out of memory. Tried to allocate 512.00 MiB", 1, OUT_OF_MEMORY),
    ("libpython3.11.so.1.0: cannot open shared object file: No such file or directory", 127, DOES_NOT_START),
    ("UNAVAILABLE: Not found: triton_python_backend_stub is not found", 1, DOES_NOT_START),
]

NAMING = [line for line, _, failure in QUOTED if failure != DOES_NOT_START and "Did you mean" not in line]
"""Without a sign of a known class, an ordinary line that follows may be preferred."""

VLLM_END = """\
(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
/usr/lib/python3.11/multiprocessing/resource_tracker.py:254: UserWarning: There appear to be 1 leaked objects
  warnings.warn('resource_tracker: There appear to be %d '
"""
VLLM_WORKER = f"""\
(APIServer pid=7) INFO 11-21 09:40:01 [api_server.py:120] vLLM API server version 0.32.0
(Worker pid=9) ERROR 11-21 09:40:30 [multiproc_executor.py:910] Traceback (most recent call last):
(Worker pid=9) ERROR 11-21 09:40:30 [multiproc_executor.py:910] ValueError: No common block size for 7
(EngineCore pid=8) ERROR 11-21 09:40:31 [core.py:1100] EngineCore failed to start.
(EngineCore pid=8) ERROR 11-21 09:40:31 [core.py:1100] RuntimeError: Worker failed with error 'No common block size \
for 7', please check the stack trace above for the root cause
{VLLM_END}"""
VLLM_ERRORS = f"""\
(EngineCore pid=8) ERROR 11-21 09:40:31 [core.py:1100] Traceback (most recent call last):
(EngineCore pid=8) ERROR 11-21 09:40:31 [core.py:1100] ValueError: the kernel is missing
(EngineCore pid=8) ERROR 11-21 09:40:31 [core.py:1102] RuntimeError: something that follows from it
{VLLM_END}"""


@pytest.mark.parametrize(("line", "returncode", "failure"), QUOTED, ids=[line[:40] for line, _, _ in QUOTED])
def test_a_line_that_an_engine_is_known_to_end_with_is_classified(
    line: str, returncode: int | None, failure: str
) -> None:
    assert classify(f"loading\n{line}\n", returncode) == failure


@pytest.mark.parametrize("line", NAMING, ids=[line[:40] for line in NAMING])
def test_a_line_that_names_the_cause_is_quoted_whatever_follows_it(line: str) -> None:
    log = f"INFO: loading\n{line}\nINFO: shutting down\n"
    assert root_cause(log) == line.strip().removeprefix("ERROR: ")


def test_the_worker_of_vllm_is_quoted_and_not_the_last_line() -> None:
    assert root_cause(VLLM_WORKER).startswith("RuntimeError: Worker failed with error 'No common block size for 7'")
    assert classify(VLLM_WORKER, 1) == BAD_OPTION


def test_the_first_logged_error_counts_when_others_follow_from_it() -> None:
    assert root_cause(VLLM_ERRORS) == "ValueError: the kernel is missing"
    assert classify(VLLM_ERRORS, 1) == DOES_NOT_START


def test_the_line_that_tells_something_is_preferred_to_the_head_of_a_validation_error() -> None:
    log = "pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, max_model_len is greater\n"
    assert root_cause(log) == "Value error, max_model_len is greater"


def test_an_option_is_blamed_by_the_line_that_names_it() -> None:
    log = "Usage: transformers serve [OPTIONS]\n\nError: No such option '--nope'.\n\nDid you mean: --no-compile?\n"
    assert root_cause(log) == "Error: No such option '--nope'."


def test_the_last_exception_of_an_ordinary_log_counts() -> None:
    log = "Traceback:\nKeyError: 'a'\n\nDuring handling …\n\nmy.own.SadError: no luck today\nbye\n"
    assert root_cause(log) == "my.own.SadError: no luck today"


def test_a_log_without_any_error_is_quoted_by_its_last_line() -> None:
    assert root_cause("one\n\ntwo\n\n") == "two"


def test_an_empty_log_is_said_to_be_empty() -> None:
    assert root_cause("") == "its log is empty"


def test_a_line_without_end_is_cut() -> None:
    assert len(root_cause("MemoryError: " + "x" * 100_000)) == 400


@pytest.mark.parametrize("returncode", [-9, 137])
def test_a_process_that_somebody_killed_without_a_word_ran_out_of_memory(returncode: int) -> None:
    assert classify("loading weights\n", returncode) == OUT_OF_MEMORY


def test_a_killed_process_that_named_another_cause_is_classified_by_it() -> None:
    assert (
        classify("OSError: [Errno 98] Address already in use\nReceived sigquit from a child process\n", -9)
        == PORT_IN_USE
    )


def test_a_usage_text_means_a_bad_option() -> None:
    assert classify("Usage: tritonserver [options]\n  --help\n", 1) == BAD_OPTION


def test_an_engine_that_still_runs_after_printing_its_usage_is_not_blamed() -> None:
    assert classify("Usage: see the manual\n", None) == DOES_NOT_START
