"""Serving performance as a test suite: start engines, load them, tune them, compare with a golden run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_msprof.comparison import Comparison, Delta, Tolerance, compare
    from pytest_msprof.errors import MsprofError, Regression
    from pytest_msprof.fields import (
        OptimizerConfigField,
        choice,
        constant,
        floats,
        integers,
        product,
        quotient,
        ratio,
        share,
        steps,
    )
    from pytest_msprof.golden import Golden
    from pytest_msprof.interfaces import (
        BenchmarkInterface,
        LaunchContext,
        LoadGenerator,
        LoadJob,
        ProcessState,
        Progress,
        SimulatorInterface,
        Stage,
        Target,
    )
    from pytest_msprof.loads import Loader
    from pytest_msprof.metrics import from_index, measure
    from pytest_msprof.monitors import Monitor, Watched
    from pytest_msprof.registry import register_benchmarks, register_simulator
    from pytest_msprof.results import Distribution, Measurement, PerformanceIndex, Run
    from pytest_msprof.samples import Sample, Samples
    from pytest_msprof.service import Service
    from pytest_msprof.settings import Settings, get_settings, register_settings
    from pytest_msprof.space import SearchSpace
    from pytest_msprof.sweeps import Sweep
    from pytest_msprof.tuning.trial import Trial
    from pytest_msprof.workload import Workload
    from pytest_msprof.workload_parts import Dataset, Lengths, Prefixes, Sessions, Stages, Trace

_HOMES = {
    "comparison": ("Comparison", "Delta", "Tolerance", "compare"),
    "errors": ("MsprofError", "Regression"),
    "fields": (
        "OptimizerConfigField",
        "choice",
        "constant",
        "floats",
        "integers",
        "product",
        "quotient",
        "ratio",
        "share",
        "steps",
    ),
    "interfaces": (
        "BenchmarkInterface",
        "LaunchContext",
        "LoadGenerator",
        "LoadJob",
        "ProcessState",
        "Progress",
        "SimulatorInterface",
        "Stage",
        "Target",
    ),
    "golden": ("Golden",),
    "loads": ("Loader",),
    "metrics": ("from_index", "measure"),
    "monitors": ("Monitor", "Watched"),
    "registry": ("register_benchmarks", "register_simulator"),
    "results": ("Distribution", "Measurement", "PerformanceIndex", "Run"),
    "samples": ("Sample", "Samples"),
    "service": ("Service",),
    "settings": ("Settings", "get_settings", "register_settings"),
    "space": ("SearchSpace",),
    "sweeps": ("Sweep",),
    "tuning.trial": ("Trial",),
    "workload": ("Workload",),
    "workload_parts": ("Dataset", "Lengths", "Prefixes", "Sessions", "Stages", "Trace"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = [
    "BenchmarkInterface",
    "Comparison",
    "Dataset",
    "Delta",
    "Distribution",
    "Golden",
    "LaunchContext",
    "Lengths",
    "LoadGenerator",
    "LoadJob",
    "Loader",
    "Measurement",
    "Monitor",
    "MsprofError",
    "OptimizerConfigField",
    "PerformanceIndex",
    "Prefixes",
    "ProcessState",
    "Progress",
    "Regression",
    "Run",
    "Sample",
    "Samples",
    "SearchSpace",
    "Service",
    "Sessions",
    "Settings",
    "SimulatorInterface",
    "Stage",
    "Stages",
    "Sweep",
    "Target",
    "Tolerance",
    "Trace",
    "Trial",
    "Watched",
    "Workload",
    "choice",
    "compare",
    "constant",
    "floats",
    "from_index",
    "get_settings",
    "integers",
    "measure",
    "product",
    "quotient",
    "ratio",
    "register_benchmarks",
    "register_settings",
    "register_simulator",
    "share",
    "steps",
]


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used: a pytest plugin is imported by every pytest run."""
    try:
        home = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
