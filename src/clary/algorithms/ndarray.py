"""MXNet's NDArray file: what AWS's containers leave as ``model_algo-1``, and what notebooks read.

Format: the list or dictionary of dense arrays that MXNet 1.9's ``nd.save`` writes, little endian.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LIST, _ARRAY = 0x112, 0xF993FAC9
_CPU = 1
_TYPES = ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8")

Array = NDArray[Any]


def dumps(arrays: Mapping[str, Array] | Sequence[Array]) -> bytes:
    """The file's bytes."""
    names: list[str] = list(arrays) if isinstance(arrays, Mapping) else []
    values = list(arrays.values()) if isinstance(arrays, Mapping) else list(arrays)
    out = [struct.pack("<QQQ", _LIST, 0, len(values))]
    for value in values:
        array = np.ascontiguousarray(value)
        code = _TYPES.index(array.dtype.newbyteorder("<").str.replace("|", ""))
        out.append(struct.pack(f"<IiI{array.ndim}q", _ARRAY, 0, array.ndim, *array.shape))
        out.append(struct.pack("<iii", _CPU, 0, code))
        out.append(array.tobytes())
    out.append(struct.pack("<Q", len(names)))
    for name in names:
        out.append(struct.pack("<Q", len(name.encode())) + name.encode())
    return b"".join(out)


def loads(data: bytes) -> tuple[list[Array], list[str]]:
    """Arrays and their names, which a list has none of; ValueError for anything else."""
    try:
        return _loads(data)
    except (struct.error, IndexError) as error:
        raise ValueError(f"it is no NDArray file ({error})") from None


def _loads(data: bytes) -> tuple[list[Array], list[str]]:
    magic, _, count = struct.unpack_from("<QQQ", data)
    if magic != _LIST:
        raise ValueError("it is no NDArray file")
    at, arrays = 24, []
    for _ in range(count):
        head, storage, dimensions = struct.unpack_from("<IiI", data, at)
        if head != _ARRAY or storage != 0 or dimensions > 32:
            raise ValueError("it holds arrays of a kind that is not read here")
        shape = struct.unpack_from(f"<{dimensions}q", data, at + 12)
        at += 12 + 8 * dimensions
        _, _, code = struct.unpack_from("<iii", data, at)
        at += 12
        dtype = np.dtype(_TYPES[code])
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if size < 0 or at + size > len(data):
            raise ValueError("it ends early")
        arrays.append(np.frombuffer(data, dtype, count=size // dtype.itemsize, offset=at).reshape(shape).copy())
        at += size
    (named,) = struct.unpack_from("<Q", data, at)
    at += 8
    names = []
    for _ in range(named):
        (length,) = struct.unpack_from("<Q", data, at)
        names.append(data[at + 8 : at + 8 + length].decode())
        at += 8 + length
    return arrays, names


def load(data: bytes) -> dict[str, Array]:
    """Named arrays."""
    arrays, names = loads(data)
    return dict(zip(names, arrays, strict=True))
