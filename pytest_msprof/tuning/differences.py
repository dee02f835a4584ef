"""What changed between two questions, in one line that names the parts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

__all__ = ["differences"]

SHOWN_LENGTH = 80
BEFORE_CHANGE = 20
"""Characters that are shown before the first that changed, in a text that is too long."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Say in one line what changed between two identities: only the parts that differ, each by its name."""
    return "; ".join(_between(old, new)) or "the space"


def _between(old: Mapping[str, Any], new: Mapping[str, Any], within: str = "") -> Iterator[str]:
    for name in sorted({*old, *new}):
        if name.endswith("_digest") or (name in old and name in new and old[name] == new[name]):
            continue
        if name not in old:
            yield f"{within}{name}: added ({_cut(_text(new[name]))})"
        elif name not in new:
            yield f"{within}{name}: removed ({_cut(_text(old[name]))})"
        else:
            yield from _changed(old[name], new[name], f"{within}{name}")


def _changed(old: Any, new: Any, name: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from _between(old, new, f"{name}.")
    elif _holds_tables(old) and _holds_tables(new):
        yield from _between(_numbered(old), _numbered(new), f"{name}.")
    else:
        yield f"{name}: {_texts(old, new)}"


def _holds_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(entry, Mapping) for entry in value)


def _numbered(entries: list[Any]) -> dict[str, Any]:
    return {str(number): entry for number, entry in enumerate(entries)}


def _texts(old: Any, new: Any) -> str:
    before, after = _text(old), _text(new)
    if before == after:  # 1 and "1"
        before, after = json.dumps(old), json.dumps(new)
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    start = max(0, alike - BEFORE_CHANGE) if max(len(before), len(after)) > SHOWN_LENGTH else 0
    return f"{_cut(before, start)} → {_cut(after, start)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _cut(text: str, start: int = 0) -> str:
    shown = f"…{text[start:]}" if start else text
    return shown if len(shown) <= SHOWN_LENGTH else f"{shown[: SHOWN_LENGTH - 1]}…"
