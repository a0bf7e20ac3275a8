"""Hyperparameters as a table: name, type, range, default. Validation, documentation and coverage follow from it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .environment import UserError

Params = dict[str, Any]
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One hyperparameter: how its text is read, which values it takes."""

    read: Callable[[str], Any]
    valid: Callable[[Any], bool]
    range: str  # as messages show it
    kind: str  # as messages call it
    required: bool = False
    default: Any = None  # the value when it is not given; None: it has none
    library: bool = True  # passed on to the library


def whole(text: str) -> int:
    """An integer, also one that is written as a float."""
    value = float(text)
    if value != int(value):
        raise ValueError(text)
    return int(value)


def flag(text: str) -> bool:
    """A boolean in any spelling that the SDKs send."""
    low = text.lower()
    if low not in ("true", "false", "1", "0"):
        raise ValueError(text)
    return low in ("true", "1")


def _edge(value: float | None, sign: str) -> str:
    return f"{sign}inf" if value is None else str(value)


def integer(low: int | None = None, high: int | None = None, **options: Any) -> Hyperparameter:
    """A whole number between two, both allowed."""

    def valid(value: int) -> bool:
        return (low is None or value >= low) and (high is None or value <= high)

    return Hyperparameter(whole, valid, f"[{_edge(low, '-')}, {_edge(high, '+')}]", "an integer", **options)


def number(
    low: float | None = None, high: float | None = None, low_open: bool = False, high_open: bool = False, **options: Any
) -> Hyperparameter:
    """A number between two; ``open`` excludes an end."""

    def valid(value: float) -> bool:
        above = low is None or (value > low if low_open else value >= low)
        below = high is None or (value < high if high_open else value <= high)
        return above and below and not math.isnan(value)

    left, right = "(" if low_open or low is None else "[", ")" if high_open or high is None else "]"
    text = f"{left}{_edge(low, '-')}, {_edge(high, '+')}{right}"
    return Hyperparameter(float, valid, text, "a number", **options)


def choice(*values: str, **options: Any) -> Hyperparameter:
    """One of several words."""
    return Hyperparameter(str, lambda value: value in values, f"[{', '.join(values)}]", "a text", **options)


def folded(*values: str, **options: Any) -> Hyperparameter:
    """One of several words, in upper or lower case."""
    low = {v.lower(): v for v in values}
    return Hyperparameter(
        lambda text: low.get(text.lower(), text), lambda v: v in values, f"[{', '.join(values)}]", "a text", **options
    )


def text(**options: Any) -> Hyperparameter:
    """Anything."""
    return Hyperparameter(str, lambda value: True, "any text", "a text", **options)


def switch(**options: Any) -> Hyperparameter:
    """Yes or no."""
    return Hyperparameter(flag, lambda value: True, "[true, false]", "a boolean", **options)


def names(*values: str, **options: Any) -> Hyperparameter:
    """A list of words: JSON, or separated by commas."""

    def read(given: str) -> list[str]:
        found = json.loads(given) if given.lstrip().startswith("[") else given.split(",")
        return [str(item).strip() for item in found]

    return Hyperparameter(
        read, lambda v: all(item in values for item in v), f"a list of [{', '.join(values)}]", "a list", **options
    )


def numbers(low: float, high: float, **options: Any) -> Hyperparameter:
    """A list of numbers, each between two: JSON, or separated by commas."""

    def read(given: str) -> list[float]:
        found = json.loads(given) if given.lstrip().startswith("[") else given.split(",")
        return [float(item) for item in found]

    return Hyperparameter(
        read, lambda v: all(low <= item <= high for item in v), f"a list within [{low}, {high}]", "a list", **options
    )


def auto(of: Hyperparameter) -> Hyperparameter:
    """Also the word ``auto``, which reads as None and is the default."""
    return replace(
        of,
        read=lambda given: None if given.lower() == AUTO else of.read(given),
        valid=lambda value: value is None or of.valid(value),
        range=f"auto or {of.range}",
        default=None,
    )


_INTERNAL = ("_", "sagemaker_")  # what tuning jobs and the SDKs add


def validate(table: Mapping[str, Hyperparameter], raw: Mapping[str, str]) -> Params:
    """Typed values with defaults. UserError in the words of AWS's first-party containers, and what would be right."""
    given = {k: str(v).strip() for k, v in raw.items() if not k.startswith(_INTERNAL)}
    if unknown := sorted(k for k in given if k not in table):
        listed = ", ".join(f"'{k}'" for k in unknown)
        were = "was" if len(unknown) == 1 else "were"
        raise UserError(
            f"Additional properties are not allowed ({listed} {were} unexpected). This algorithm takes: "
            f"{', '.join(sorted(table))}."
        )
    for name, spec in table.items():
        if spec.required and not given.get(name):
            raise UserError(f"'{name}' is a required property. It takes {spec.kind} in {spec.range}.")
    params: Params = {name: spec.default for name, spec in table.items()}
    for name, shown in given.items():
        spec = table[name]
        bare = shown.strip('"')
        try:
            value = spec.read(bare)
            good = spec.valid(value)
        except (ValueError, OverflowError, TypeError):
            good = False
        if not good:
            raise UserError(
                f"'{bare}' is not valid under any of the given schemas: the hyperparameter {name} takes {spec.kind} "
                f"in {spec.range}."
            )
        params[name] = value
    return params
