"""Keeping secrets out of what is stored and shown: keys, tokens, passwords become `***`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

__all__ = ["MASK", "is_secret_name", "redact", "secrets_in"]

T = TypeVar("T")

MASK = "***"
SHORTEST_SECRET = 6
"""Shorter values stand in logs by chance: `OPENAI_API_KEY=EMPTY`."""

SECRET_PART = re.compile(r"PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|API_?KEY|ACCESS_?TOKEN|AUTH_?TOKEN")
SECRET_END = re.compile(r"(?:^TOKEN|^APIKEY|^AUTHORIZATION|^PROXY_AUTHORIZATION|^(?:SET_)?COOKIE|_KEY|_TOKEN)$")
HARMLESS = re.compile(
    r"(?:^|_)(?:public|primary|foreign|sort|group|cache|golden|study|run|lease"
    r"|first|next|last|input|output|prompt|per|each|bos|eos|pad|unk|sep|cls|mask|stop|special|image)_(?:key|token)$"
)
"""Words of tables and of language models, such as `time_per_output_token`."""

AUTHORITY = re.compile(r"://(?P<user>[^\s/?#:@]*)(?P<rest>[^\s/?#]*)@")
QUERY = re.compile(r"(?P<name>[?&;](?P<key>[\w.~-]+)=)(?P<value>[^&;#\s\"']+)")
QUERY_NAMES = frozenset({"key", "sig", "signature", "auth", "code"})
BEARER = re.compile(r"(?P<scheme>\b(?:Bearer|Basic)\s+)[^\s\"',;]+", re.IGNORECASE)
HEADER = re.compile(
    r"(?P<name>\b(?:Proxy-)?Authorization\b[\"']?\s*[:=]\s*[\"']?)(?P<scheme>\w+\s+)?[^\s\"',;]+", re.IGNORECASE
)
ASSIGNED = re.compile(
    r"(?<![\w.-])(?P<dashes>[-.]*)(?P<name>\w[\w.-]*)[\"']?(?P<sign>\s*[:=]\s*|\s*,\s*|\s+)", re.ASCII
)
"""Starts at the start of a word only: a log may hold a word of a megabyte."""
VALUE = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|\[[^\]\n]{0,5000}\]|[^\s,;&\"'\])}]+")
WHOLE_ASSIGNMENT = re.compile(r"(?P<before>-{0,2}(?P<name>[A-Za-z_][\w.-]*)=)(?P<value>.+)", re.DOTALL)
TOKEN_SHAPE = re.compile(r"\b(?:sk|hf|ghp|gho|ghs|glpat|xox[abp]|AKIA)[-_]?[A-Za-z0-9][\w-]{15,}")


def redact(value: T) -> T:
    """Return a copy of *value*, text, list, mapping or any nesting of them, without its secrets.

    A list of texts is read as an argument list: what follows `--api-key` goes too.
    """
    return cast("T", _redact(value))


def is_secret_name(name: str) -> bool:
    """Say whether what *name* stands for is a secret: `HF_TOKEN`, `apiKey`, `--password`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.lstrip("-"))
    words = re.sub(r"[^A-Za-z0-9]+", "_", words).strip("_")
    if HARMLESS.search(words):
        return False
    return bool(SECRET_PART.search(words.upper()) or SECRET_END.search(words.upper()))


def secrets_in(env: Mapping[str, str], command: Sequence[str]) -> tuple[str, ...]:
    """Return the secret values themselves, longest first, to be struck from a program's output."""
    words = [word for text in command for word in text.split()]  # a script for `sh -c` is one argument
    given = [*env.values(), *command, *words]
    cleaned = [*redact(dict(env)).values(), *redact(list(command)), *redact(words)]
    found = {text for old, new in zip(given, cleaned, strict=True) if old != new for text in _masked(old, new)}
    return tuple(sorted((text for text in found if len(text) >= SHORTEST_SECRET), key=len, reverse=True))


def _masked(old: str, new: str) -> tuple[str, ...]:
    """Return what stands in *old* where *new* has a mask, each of several."""
    kept = "(.+?)".join(map(re.escape, new.split(MASK)))
    match = re.fullmatch(kept, old, re.DOTALL)
    return match.groups() if match else (old,)


def _redact(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {key: _named(str(key), entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return tuple(_items(value))
    if isinstance(value, list):
        return list(_items(value))
    return value


def _named(name: str, value: Any) -> Any:
    """Redact what stands under *name*; absence and switches tell nothing."""
    if value is None or isinstance(value, bool) or value == "":
        return value
    return MASK if is_secret_name(name) else _redact(value)


def _items(values: Sequence[Any]) -> Iterator[Any]:
    """Redact list items, and every value of an option that takes secrets, of which vLLM's takes several."""
    first = following = False
    for value in values:
        option = isinstance(value, str) and value.startswith("--" if first else "-")
        if following and not option:
            yield MASK
            first = False
            continue
        first = following = option and "=" not in value and is_secret_name(value)
        yield _redact(value)


def _text(text: str) -> str:
    whole = WHOLE_ASSIGNMENT.fullmatch(text)
    if whole and is_secret_name(whole["name"]):
        return f"{whole['before']}{MASK}"
    text = AUTHORITY.sub(_without_password, text)
    text = QUERY.sub(_without_parameter, text)
    text = HEADER.sub(lambda match: f"{match['name']}{match['scheme'] or ''}{MASK}", text)
    text = BEARER.sub(lambda match: f"{match['scheme']}{MASK}", text)
    return TOKEN_SHAPE.sub(MASK, _without_values(text))


def _without_password(match: re.Match[str]) -> str:
    """Keep the user of `user:password@`; a lone user name, as in `https://TOKEN@host`, may be a token."""
    user = f"{match['user']}:" if match["rest"].startswith(":") else ""
    return f"://{user}{MASK}@"


def _without_parameter(match: re.Match[str]) -> str:
    secret = match["key"].lower() in QUERY_NAMES or is_secret_name(match["key"])
    return f"{match['name']}{MASK}" if secret else match[0]


def _without_values(text: str) -> str:
    """Mask what is assigned to a secret's name, and what follows an option: `--token X`, not "the token is"."""
    pieces, end = [], 0
    for match in ASSIGNED.finditer(text):
        assigns = match["sign"].strip() in (":", "=") or match["dashes"].startswith("-")
        if match.start() < end or not assigns or not is_secret_name(match["name"]):
            continue
        if value := VALUE.match(text, match.end()):
            pieces += [text[end : match.end()], MASK]
            end = value.end()
    return "".join([*pieces, text[end:]])
