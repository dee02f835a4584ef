"""The monitor `npu`: power, memory and utilisation of Ascend devices, from the table of `npu-smi info`."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import ClassVar

from pytest_msprof.monitors import Monitor, Watched

__all__ = ["NpuMonitor", "devices"]

COMMAND = "npu-smi"
TIMEOUT = 20.0
MEBIBYTE, PERCENT = 1 << 20, 1e-2
FIRST = re.compile(r"\|\s*(?P<npu>\d+)\s+\S+\s*\|\s*[A-Za-z]+\s*\|\s*(?P<power>[\d.]+|-|NA)\s")
SECOND = re.compile(
    r"\|\s*(?P<chip>\d+)(?:\s+\d+)?\s*\|\s*[0-9A-Fa-f:.]+\s*\|\s*(?P<cores>\d+)\s+\d+\s*/\s*\d+(?:\s+(?P<hbm>\d+)\s*/\s*\d+)?"
)


class NpuMonitor(Monitor):
    """Reads `npu0.power` (W), `npu0.memory` (bytes of HBM) and `npu0.utilization` of the AI cores.

    The command takes up to a second, so its readings are further apart than those of others.
    """

    period: ClassVar[float] = 2.0

    def start(self, watched: Watched) -> bool:
        """Watch where the command is installed and lists a device."""
        return watched.is_local and shutil.which(COMMAND) is not None and bool(self.read())

    def read(self) -> Mapping[str, float]:
        """Run the command."""
        found = subprocess.run([COMMAND, "info"], capture_output=True, text=True, timeout=TIMEOUT, check=False)
        return dict(devices(found.stdout))


def devices(table: str) -> Iterator[tuple[str, float]]:
    """Read the table: two rows a chip, the first with its power, the second with its use."""
    first: re.Match[str] | None = None
    for line in table.splitlines():
        if row := SECOND.match(line):
            if first is not None:
                yield from _device(first, row)
        elif row := FIRST.match(line):
            first = row


def _device(first: re.Match[str], second: re.Match[str]) -> Iterator[tuple[str, float]]:
    chip = "" if second["chip"] == "0" else f".{second['chip']}"
    name = f"npu{first['npu']}{chip}"
    if first["power"] not in ("-", "NA"):
        yield f"{name}.power", float(first["power"])
    yield f"{name}.utilization", int(second["cores"]) * PERCENT
    if second["hbm"]:
        yield f"{name}.memory", float(int(second["hbm"]) * MEBIBYTE)
