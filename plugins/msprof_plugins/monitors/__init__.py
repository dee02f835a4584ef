"""What is watched beside a load: the service's own counts, the machine, NVIDIA and Ascend devices."""

from __future__ import annotations

from msprof_plugins.monitors.host import HostMonitor
from msprof_plugins.monitors.npu_smi import NpuMonitor
from msprof_plugins.monitors.nvml import NvmlMonitor
from msprof_plugins.monitors.server import ServerMonitor

__all__ = ["HostMonitor", "NpuMonitor", "NvmlMonitor", "ServerMonitor"]
