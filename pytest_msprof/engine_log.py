"""What an engine wrote to its log, as text that can be quoted anywhere, without secrets."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from pytest_msprof.redaction import MASK, redact

__all__ = ["EngineLog"]

TAIL_BYTES = 256 * 1024
ANSI_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]+")


class EngineLog(NamedTuple):
    """What one process wrote to its log, from *offset* on, and what must not be quoted of it."""

    path: Path
    offset: int
    secrets: tuple[str, ...]

    @classmethod
    def starting_now(cls, path: Path, secrets: tuple[str, ...]) -> EngineLog:
        """Begin where the file ends now."""
        return cls(path, path.stat().st_size if path.exists() else 0, secrets)

    def tail(self, lines: int) -> str:
        """Return the last lines as text that any terminal, JSON or XML can hold."""
        try:
            with self.path.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(end - TAIL_BYTES, min(self.offset, end)))
                text = file.read().decode("utf-8", errors="replace")
        except OSError:
            return ""
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        text = ANSI_SEQUENCE.sub("", text).replace("\r\n", "\n")
        shown = [CONTROL.sub("\N{REPLACEMENT CHARACTER}", line.rpartition("\r")[2]) for line in text.split("\n")]
        return redact("\n".join("\n".join(shown).strip("\n").split("\n")[-lines:]))

    def scrub(self) -> None:
        """Remove the secrets from the file, which nobody writes any more."""
        if not self.secrets or not self.path.exists():
            return
        text = self.path.read_bytes()
        clean = text
        for secret in self.secrets:
            clean = clean.replace(os.fsencode(secret), MASK.encode())
        if clean != text:
            self.path.write_bytes(clean)
