"""A plugin that operates the fake engine: a search space whose effects are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pytest_msprof.fields import OptimizerConfigField, choice, floats, integers
from pytest_msprof.interfaces import SimulatorInterface
from pytest_msprof.results import Value
from pytest_msprof.testing.fake_engine import fake_command

__all__ = ["FakeSimulator"]


class FakeSimulator(SimulatorInterface):
    """Operates a `FakeEngine`; subclass it and set `behaviour` for faults that are no field.

    Throughput grows with `capacity` up to the concurrency of the load and falls with `itl` and
    `slowdown`; `crash` dies at the start; `fail_every` fails each N-th request.
    """

    default_name: ClassVar[str] = "fake"
    readiness_timeout: ClassVar[float] = 30.0
    behaviour: ClassVar[Mapping[str, object]] = {}
    """Options of the engine that no field changes."""

    FIELDS: ClassVar[tuple[OptimizerConfigField, ...]] = (
        integers("capacity", 1, 64, log=True),
        floats("ttft", 0.0, 1.0),
        floats("itl", 0.0, 1.0),
        floats("slowdown", 0.0, 1.0),
        integers("tokens_per_event", 1, 64, log=True),
        integers("fail_every", 0, 1000),
        integers("crash_after", 0, 1000),
        choice("crash", [False, True]),
        choice("word", ["token", "nonsense"]).marked(numerics=True),
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._data_field = self.FIELDS

    @property
    def base_url(self) -> str:
        """Where the engine answers that it is up."""
        return f"http://127.0.0.1:{self.context.port if self.context else 0}/health"

    @property
    def served_model(self) -> str:
        """The one model it knows."""
        return str(self.behaviour.get("model", "fake"))

    def update_command(self) -> None:
        """Make the command from the fields that have a value."""
        given: dict[str, object] = {entry.name: entry.value for entry in self.data_field if entry.value is not None}
        if given.pop("crash", False):
            given["exit_at_start"] = 1
        self.command = fake_command(self.context.port if self.context else 0, **{**self.behaviour, **given})

    def engine_version(self) -> str:
        """Return the same for ever."""
        return "fake"

    def describe(self) -> Mapping[str, Value]:
        """Say that no figure of this run means anything about a real engine."""
        return {"version": "fake"}
