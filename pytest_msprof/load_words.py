"""The words in which `pytest-msprof load` takes a workload: lengths, lists, weights, fields of a body."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pytest_msprof.errors import ConfigurationError, InvalidWorkload, MsprofError
from pytest_msprof.workload_parts import Lengths

__all__ = [
    "LENGTHS",
    "read_body",
    "read_concurrencies",
    "read_dataset",
    "read_field",
    "read_header",
    "read_lengths",
    "read_rates",
    "read_weight",
    "typed",
]

Read = TypeVar("Read")
RANDOM = "random"
LENGTHS = "N, LOW-HIGH, normal:MEAN:STD, lognormal:MEAN:STD or histogram:LOW-HIGH:WEIGHT:…"
SHAPES: dict[str, Callable[[float, float], Lengths]] = {"normal": Lengths.normal, "lognormal": Lengths.lognormal}


def typed(read: Callable[[str], Read]) -> Callable[[str], Read]:
    """Let argparse tell what is wrong with a value in our words."""

    def read_typed(text: str) -> Read:
        try:
            return read(text)
        except MsprofError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read_typed


def read_lengths(text: str) -> int | Lengths:
    """Read `64`, `32-96` (each equally likely), `normal:64:16` (mean and deviation) or `histogram:1-9:3:10-99:1`."""
    shape, *numbers = text.split(":")
    try:
        if shape == "histogram":
            pairs = zip(numbers[::2], numbers[1::2], strict=True)
            return Lengths.histogram(*((*_span(span), float(weight)) for span, weight in pairs))
        if numbers:
            return SHAPES[shape](*map(float, numbers))
        low, high = _span(text)
        return Lengths.uniform(low, high) if "-" in text else low
    except (KeyError, TypeError, ValueError):
        raise InvalidWorkload(f"lengths are {LENGTHS}, but got {text!r}") from None


def read_rates(text: str) -> tuple[float, ...]:
    """Read `4`, or `1,2.5,10`: requests a second."""
    return _several(text, float, "requests a second, such as 4 or 1,2.5,10")


def read_concurrencies(text: str) -> tuple[int, ...]:
    """Read `8`, or `1,8,64`: requests in flight."""
    return _several(text, int, "whole numbers of requests in flight, such as 8 or 1,8,64")


def read_weight(text: str) -> tuple[str, float]:
    """Read `NAME=WEIGHT`; a name alone has the weight 1."""
    name, weight = text.rsplit("=", 1) if "=" in text else (text, "1")
    try:
        return _named(name), float(weight)
    except ValueError:
        raise ConfigurationError(
            f"a model of a mix is NAME or NAME=WEIGHT, such as lora-a=3, but got {text!r}"
        ) from None


def read_dataset(text: str) -> Path | None:
    """Read the name of a file; None stands for prompts that are made."""
    return None if text == RANDOM else Path(text)


def read_field(text: str) -> tuple[str, Any]:
    """Read `NAME=VALUE`, the value as JSON where it is some: `temperature=0.7`."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise ConfigurationError(f"a parameter is NAME=VALUE, such as temperature=0.7, but got {text!r}")
    return name.strip(), _json_or_text(value)


def read_body(text: str) -> Mapping[str, Any]:
    """Read a JSON object."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError(f"fields of a body are a JSON object, such as '{{\"priority\": 1}}', but got {text!r}")
    return found


def read_header(text: str) -> tuple[str, str]:
    """Read `NAME:VALUE`; what is wrong is told without the value, which may be a secret."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigurationError("a header is NAME:VALUE, such as 'X-Tenant: blue', but there is no colon or no name")
    return name.strip(), value.strip()


def _span(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    return int(low), int(high) if dash else int(low)


def _several(text: str, kind: Callable[[str], Read], wanted: str) -> tuple[Read, ...]:
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise InvalidWorkload(f"wanted {wanted}, but got {text!r}") from None


def _named(name: str) -> str:
    if not name.strip():
        raise ValueError
    return name.strip()


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
