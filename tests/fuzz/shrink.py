"""The smallest request that still does it: parts are taken away for as long as the verdict stays."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import cbor2

from .requests import Draft, json_bytes


def smaller(draft: Draft, again: Callable[[Draft], bool], tries: int) -> Draft:
    """The draft with everything taken away that ``again`` does not need."""
    left = tries
    progress = True
    while progress and left > 0:
        progress = False
        for candidate in _candidates(draft):
            left -= 1
            if left <= 0:
                break
            if again(candidate):
                draft, progress = candidate, True
                break
    return draft


def _candidates(draft: Draft) -> Iterator[Draft]:
    if draft.query:
        pairs = draft.query.split("&")
        yield from (replace(draft, query="&".join(pairs[:i] + pairs[i + 1 :])) for i in range(len(pairs)))
    for name in draft.headers:
        if name not in ("x-amz-target", "smithy-protocol"):
            yield replace(draft, headers={k: v for k, v in draft.headers.items() if k != name})
    yield from (replace(draft, body=body) for body in _bodies(draft))


def _bodies(draft: Draft) -> Iterator[bytes]:
    if not draft.body:
        return
    yield b""
    if "cbor" in draft.headers.get("content-type", ""):
        with contextlib.suppress(cbor2.CBORError, ValueError):
            yield from (cbor2.dumps(t) for t in _trees(cbor2.loads(draft.body)))
            return
    with contextlib.suppress(ValueError, RecursionError):
        yield from (json_bytes(t) for t in _trees(json.loads(draft.body)))
        return
    if "form" in draft.headers.get("content-type", ""):
        pairs = draft.body.split(b"&")
        yield from (b"&".join(pairs[:i] + pairs[i + 1 :]) for i in range(2, len(pairs)))
    step = len(draft.body) // 2
    while step:
        yield from (draft.body[:at] + draft.body[at + step :] for at in range(0, len(draft.body), step))
        if len(draft.body) // max(step, 1) > 16:
            return
        step //= 2


def _trees(tree: Any) -> Iterator[Any]:
    """The tree without one of its parts, or with an inner document (a text of JSON) made smaller."""
    if isinstance(tree, dict):
        for key in tree:
            yield {k: v for k, v in tree.items() if k != key}
        for key, value in tree.items():
            yield from ({**tree, key: inner} for inner in _trees(value))
    elif isinstance(tree, list):
        if len(tree) > 2:
            yield tree[: len(tree) // 2]
        for at in range(min(len(tree), 20)):
            yield tree[:at] + tree[at + 1 :]
        for at in range(min(len(tree), 20)):
            yield from ([*tree[:at], inner, *tree[at + 1 :]] for inner in _trees(tree[at]))
    elif isinstance(tree, str) and tree.startswith(("{", "[")):
        with contextlib.suppress(ValueError, RecursionError):
            document = json.loads(tree)
            yield from (json.dumps(inner) for inner in _trees(copy.copy(document)))
    elif isinstance(tree, str) and len(tree) > 20:
        yield tree[: len(tree) // 2]
