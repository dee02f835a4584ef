"""What a plugin gets from the interfaces it derives from."""

from __future__ import annotations

from pytest_msprof import OptimizerConfigField, SimulatorInterface, choice, integers


class Acme(SimulatorInterface):
    def __init__(self) -> None:
        super().__init__()
        self.data_field = (integers("capacity", 1, 64), choice("dtype", ["fp16", "fp32"]))

    @property
    def base_url(self) -> str:
        return "http://127.0.0.1:1/health"

    def update_command(self) -> None:
        self.command = ["acme"]


def with_value(entry: OptimizerConfigField, value: object) -> OptimizerConfigField:
    return entry.model_copy(update={"value": value})


def test_the_first_assignment_declares_the_fields() -> None:
    assert [entry.name for entry in Acme().data_field] == ["capacity", "dtype"]


def test_a_later_assignment_gives_values_and_keeps_the_declaration() -> None:
    acme = Acme()
    acme.data_field = (with_value(acme.data_field[0], 8),)
    assert {entry.name: entry.value for entry in acme.data_field} == {"capacity": 8, "dtype": None}


def test_what_was_never_declared_is_kept_apart() -> None:
    acme = Acme()
    acme.data_field = (integers("MAX_LORAS", 1, 4, position="env"),)
    assert [entry.name for entry in acme.data_field] == ["capacity", "dtype"]
    assert [entry.name for entry in acme.extra_field] == ["MAX_LORAS"]
