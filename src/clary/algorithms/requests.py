"""Request bodies of first-party algorithms to rows, and rows of answers to bodies.

Formats: "Common data formats for inference" of the SageMaker developer guide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from .contract import CSV, JSON, JSONLINES, RECORDIO, Columns
from .environment import UserError
from .readers import delimited, recordio
from .readers.source import parameters
from .readers.table import Floats, compressed

Json = dict[str, Any]


class Refused(Exception):
    """A request that is answered with a status of its own."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """One request: what it holds and what it wants."""

    body: bytes
    kind: str  # content type, without parameters
    options: dict[str, str]  # parameters of the content type
    accept: str
    wishes: dict[str, str] = field(default_factory=dict)  # parameters of Accept


def read(content_type: str, accept: str, body: bytes, taken: Sequence[str], given: Sequence[str]) -> Request:
    """A request, checked against what an algorithm takes and gives; Refused 415 and 406."""
    kind, options = parameters(content_type)
    kind = kind or taken[0]
    if kind not in taken:
        raise Refused(415, f"Content type {content_type} is not supported. Supported: {', '.join(taken)}")
    wanted, wishes = parameters(accept)
    if wanted in ("", "*/*"):
        wanted = given[0]
    if wanted not in (*given, CSV):
        raise Refused(406, f"Accept type {accept} is not supported. Supported: {', '.join(given)}")
    return Request(body, kind, options, wanted, wishes)


# ---- rows in -------------------------------------------------------------------------------------------------------


def features(request: Request, columns: int) -> Any:
    """The rows of a request, float32 [rows, ``columns``], dense or sparse; UserError for anything else."""
    if request.kind == CSV:
        found: Any = delimited.matrix(request.body, "the request")
        if request.options.get("label_size") == "1" and found.shape[1]:
            found = found[:, 1:]
    elif request.kind == RECORDIO:
        found = recordio.table(request.body, "the request").features
    else:
        found = _matrix(instances(request)[0], columns)
    return _fitting(found, columns)


def document(text: bytes) -> Any:
    """JSON; UserError when it is none."""
    try:
        return orjson.loads(text)
    except ValueError as error:
        raise UserError(f"The request is no valid JSON: {error}") from None


def instances(request: Request) -> tuple[list[Any], Json]:
    """The instances of a JSON request and its configuration, or the lines of JSON Lines, which have none."""
    if request.kind == JSONLINES:
        return [document(line) for line in request.body.splitlines() if line.strip()], {}
    found = document(request.body)
    if not isinstance(found, dict) or not isinstance(found.get("instances"), list):
        raise UserError('A JSON request has the form {"instances": [{"features": [1.5, 16.0]}]}')
    configuration = found.get("configuration") or {}
    if not isinstance(configuration, dict):
        raise UserError("The configuration of a request is an object")
    return found["instances"], configuration


def _matrix(rows: list[Any], columns: int) -> Any:
    if not rows:
        return np.empty((0, columns), dtype=np.float32)
    try:
        plain = [row["features"] for row in rows]
        if all(type(row) is list for row in plain):
            return _rows(plain)
    except (KeyError, TypeError):
        pass
    return _mixed([values_of(row) for row in rows], columns)


def values_of(row: Any) -> Json:
    """The values, and the keys of a sparse row, in any of the documented shapes."""
    if isinstance(row, list):
        return {"values": row}
    if isinstance(row, dict):
        found = row.get("features")
        if found is None and isinstance(data := row.get("data"), dict):
            found = data.get("features")
        if isinstance(found, list):
            return {"values": found}
        if isinstance(found, dict) and isinstance(found.get("values"), list):
            return found
    raise UserError('An instance has the form {"features": […]} or {"data": {"features": {"values": […]}}}')


def _mixed(rows: list[Json], columns: int) -> Any:
    if not any("keys" in row for row in rows):
        return _rows([row["values"] for row in rows])
    keys: list[int] = []
    values: list[float] = []
    ends = [0]
    try:
        for row in rows:
            those = row.get("keys", range(len(row["values"])))
            if len(those) != len(row["values"]):
                raise UserError("A sparse instance has not as many keys as values")
            shape = row.get("shape", [columns])
            if int(shape[-1]) != columns:
                raise UserError(f"A sparse instance has the shape {shape}, the model takes {columns} features")
            keys += those
            values += row["values"]
            ends.append(len(keys))
        if keys and not 0 <= min(keys) <= max(keys) < columns:
            raise UserError(f"A sparse instance has keys outside 0 to {columns - 1}")
        return compressed(np.asarray(values, dtype=np.float32), keys, ends, columns)
    except (TypeError, ValueError, IndexError, KeyError):
        raise UserError("A sparse instance has a shape, keys or values that are no lists of numbers") from None


def _rows(rows: list[list[Any]]) -> Floats:
    try:
        found = np.array(rows, dtype=np.float32)
    except (ValueError, TypeError):
        raise UserError("The instances are no lists of numbers of one length") from None
    if found.ndim != 2:
        raise UserError("The instances are no lists of numbers of one length")
    return found


def _fitting(found: Any, columns: int) -> Any:
    if not found.shape[0]:
        raise UserError("The request has no rows")
    if not isinstance(found, np.ndarray):
        if found.shape[1] > columns:
            raise UserError(f"The request has rows of {found.shape[1]} features, the model takes {columns}")
        found.resize((found.shape[0], columns))
        values = found.data
    else:
        values = found
        if found.shape[1] != columns:
            raise UserError(f"The request has rows of {found.shape[1]} features, the model takes {columns}")
    if not np.isfinite(values).all():
        raise UserError("The request has empty, NaN or infinite values")
    return found


# ---- rows out ------------------------------------------------------------------------------------------------------


def encode(columns: Columns, accept: str, outer: str) -> bytes:
    """Columns of an answer as a body: a row is an object of the fields."""
    names = list(columns)
    lists = [c.tolist() if isinstance(c, np.ndarray) else c for c in columns.values()]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]
    return documents(rows, accept, outer)


def documents(rows: list[Json], accept: str, outer: str = "predictions") -> bytes:
    """Objects as a body of an accepted type."""
    if accept == JSON:
        return orjson.dumps({outer: rows})
    if accept == JSONLINES:
        return b"".join(orjson.dumps(row) + b"\n" for row in rows)
    if accept == RECORDIO:
        return b"".join(recordio.write({k: v if isinstance(v, list) else [v] for k, v in row.items()}) for row in rows)
    return "".join(",".join(_cell(row[name]) for name in sorted(row)) + "\n" for row in rows).encode()


def _cell(value: Any) -> str:
    return f'"{value}"' if isinstance(value, list) else str(value)
