"""Reading many events of a stream at once: engines send the same event again and again, but for its text."""

from __future__ import annotations

import json
from typing import NamedTuple

__all__ = ["Template", "learn"]

DECODER = json.JSONDecoder()
EVENT_END = b"\n\n"


class Template(NamedTuple):
    """An event cut open where its text stands; two events of one template differ in that text alone."""

    head: bytes
    tail: bytes

    def texts(self, data: bytes, begin: int) -> tuple[list[str], int]:
        """Read the events of this template that stand in *data* from *begin* on, and say where they end.

        Nothing is read where anything among them is not of the template, so that what is read is
        exactly what a JSON parser would read.
        """
        end = data.rfind(self.tail, begin)
        if end < 0 or not data.startswith(self.head, begin):
            return [], begin
        cut = data[begin + len(self.head) : end].split(self.tail + self.head)
        try:
            return _strings(cut), end + len(self.tail)
        except ValueError:
            return [], begin


def learn(event: bytes, text: str) -> Template | None:
    """Return the template of *event*, which says *text* and nothing else that another might not say as well.

    None where the text is not to be found in it exactly once as a JSON string.
    """
    literal = json.dumps(text, ensure_ascii=False).encode()
    if event.count(literal) != 1:
        return None
    before, after = event.split(literal)
    return Template(before + b'"', b'"' + after + EVENT_END)


def _strings(cut: list[bytes]) -> list[str]:
    """Read the insides of JSON strings; raises ValueError where one is none."""
    if len(cut) == 1 and b"\\" not in cut[0] and b'"' not in cut[0] and (plain := cut[0].decode()).isprintable():
        return [plain]
    joined = b'","'.join(cut)
    if joined.count(b'"') != 2 * (len(cut) - 1):
        return [DECODER.decode(f'"{inside.decode()}"') for inside in cut]
    found: list[str] = DECODER.decode(f'["{joined.decode()}"]')
    if len(found) != len(cut):
        raise ValueError("a backslash at the end of one string hid the end of it")
    return found
