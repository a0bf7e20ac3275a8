"""Metric math: expressions over series. Series are values by moment; an operation keeps the moments all its series have.

Source: AWS, "Using math expressions with CloudWatch metrics". What is not served is refused by name.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Series = dict[int, float]
Value = float | Series | list[Series]

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: operator.pow,
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
_REDUCE: dict[str, Callable[[list[float]], float]] = {
    "SUM": sum, "MIN": min, "MAX": max, "AVG": lambda v: sum(v) / len(v),
}  # fmt: skip
_EACH: dict[str, Callable[[float], float]] = {"ABS": abs, "CEIL": math.ceil, "FLOOR": math.floor, "LOG": math.log}
MAX_LENGTH = 2048


class ExpressionError(ValueError):
    """An expression that cannot be read, or asks for something that is not served."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may name: series by id, and the period of each."""

    series: dict[str, Series]
    periods: dict[str, int]


def evaluate(text: str, scope: Scope) -> Value:
    """An expression's value; ExpressionError when it has none."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError("the expression is too long")
    source = re.sub(r"&&", " and ", re.sub(r"\|\|", " or ", text))
    try:
        tree = ast.parse(source.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        raise ExpressionError(f"the expression {text!r} cannot be read") from None
    try:
        return _node(tree.body, scope)
    except RecursionError:
        raise ExpressionError(f"the expression {text!r} is nested too deeply") from None


def _node(node: ast.AST, scope: Scope) -> Value:
    match node:
        case ast.Constant(value=bool()) | ast.Constant(value=str()):
            raise ExpressionError("a text stands where a number or a metric belongs")
        case ast.Constant(value=int() | float() as value):
            return _safe(float, value)
        case ast.Name(id=name):
            if name not in scope.series:
                raise ExpressionError(f"the expression names {name}, which is not the Id of a metric in the request")
            return scope.series[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _map(lambda v: -v, _node(operand, scope))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _pair(_BINARY[type(op)], _node(left, scope), _node(right, scope))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            compare = _COMPARE[type(op)]
            return _pair(lambda a, b: float(compare(a, b)), _node(left, scope), _node(right, scope))
        case ast.BoolOp(op=op, values=values):
            found = [_node(v, scope) for v in values]
            whole = found[0]
            for other in found[1:]:
                whole = _pair(_both if isinstance(op, ast.And) else _either, whole, other)
            return whole
        case ast.List(elts=items):
            return [_series(_node(i, scope)) for i in items]
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _call(name.upper(), arguments, scope)
    raise ExpressionError(f"Clary's metric math does not know {ast.unparse(node)[:80]!r}")


def _both(left: float, right: float) -> float:
    return float(bool(left) and bool(right))


def _either(left: float, right: float) -> float:
    return float(bool(left) or bool(right))


def _call(name: str, arguments: list[ast.expr], scope: Scope) -> Value:
    if name == "METRICS":
        wanted = arguments[0].value if arguments and isinstance(arguments[0], ast.Constant) else ""
        return [s for n, s in scope.series.items() if str(wanted) in n]
    if name == "PERIOD" and len(arguments) == 1 and isinstance(arguments[0], ast.Name):
        return float(scope.periods.get(arguments[0].id, 60))
    values = [
        _node(a, scope) for a in arguments if not (name == "FILL" and isinstance(a, ast.Name) and a.id == "REPEAT")
    ]
    if name in _REDUCE and len(values) == 1:
        return _reduce(_REDUCE[name], values[0])
    if name in _EACH and len(values) == 1:
        return _map(_EACH[name], values[0])
    if name == "IF" and len(values) in (2, 3):
        return _if(values)
    if name in ("DIFF", "RATE") and len(values) == 1:
        return _differences(_series(values[0]), name == "RATE")
    if name == "FILL" and values:
        return _fill(_series(values[0]), values[1] if len(values) > 1 else None, scope)
    raise ExpressionError(f"Clary's metric math does not serve {name}() with {len(arguments)} arguments")


def _series(value: Value) -> Series:
    if isinstance(value, dict):
        return value
    raise ExpressionError("a number or a list stands where a metric belongs")


def _map(function: Callable[[float], float], value: Value) -> Value:
    if isinstance(value, dict):
        return {at: _safe(function, v) for at, v in value.items()}
    if isinstance(value, list):
        return [{at: _safe(function, v) for at, v in s.items()} for s in value]
    return _safe(function, value)


def _safe(function: Callable[..., float], *values: float) -> float:
    try:
        found = function(*values)
        return float(found) if isinstance(found, (int, float)) else math.nan
    except (ZeroDivisionError, ValueError, OverflowError):
        return math.nan


def _pair(function: Callable[[float, float], float], left: Value, right: Value) -> Value:
    if isinstance(left, list):
        return [_series(_pair(function, s, right)) for s in left]
    if isinstance(right, list):
        return [_series(_pair(function, left, s)) for s in right]
    if isinstance(left, dict) and isinstance(right, dict):
        return _clean({at: _safe(function, v, right[at]) for at, v in left.items() if at in right})
    if isinstance(left, dict):
        assert isinstance(right, float)
        return _clean({at: _safe(function, v, right) for at, v in left.items()})
    if isinstance(right, dict):
        return _clean({at: _safe(function, left, v) for at, v in right.items()})
    return _safe(function, left, right)


def _clean(series: Series) -> Series:
    """Without the moments at which there is no value, such as one divided by zero."""
    return {at: v for at, v in series.items() if not math.isnan(v)}


def _reduce(function: Callable[[list[float]], float], value: Value) -> Value:
    """Of a list of series a series, moment by moment; of one series a number."""
    if isinstance(value, dict):
        return function(list(value.values())) if value else math.nan
    if isinstance(value, list):
        moments = sorted({at for s in value for at in s})
        return {at: function([s[at] for s in value if at in s]) for at in moments}
    return value


def _if(values: list[Value]) -> Value:
    condition, then = values[0], values[1]
    other: Value | None = values[2] if len(values) > 2 else None
    if not isinstance(condition, dict):
        chosen = then if condition else other
        return chosen if chosen is not None else {}
    found: Series = {}
    for at, holds in condition.items():
        chosen = then if holds else other
        value = chosen.get(at) if isinstance(chosen, dict) else chosen
        if isinstance(value, float):
            found[at] = value
    return found


def _differences(series: Series, rate: bool) -> Series:
    moments = sorted(series)
    return {
        later: (series[later] - series[earlier]) / ((later - earlier) if rate else 1)
        for earlier, later in pairwise(moments)
    }


def _fill(series: Series, filler: Value | None, scope: Scope) -> Series:
    moments = sorted({at for s in scope.series.values() for at in s})
    found: Series = {}
    last: float | None = None
    for at in moments:
        if at in series:
            last = found[at] = series[at]
        elif filler is None:
            if last is not None:
                found[at] = last
        else:
            value = filler.get(at) if isinstance(filler, dict) else filler
            if isinstance(value, float):
                found[at] = value
    return found


def shown(value: Any, moments: list[int]) -> Series:
    """A value as a series: a number stands at every moment."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        raise ExpressionError("the expression gives several series; reduce them, or return them by Ids of their own")
    return {} if math.isnan(value) else dict.fromkeys(moments, value)
