"""Which stage and which route of an HTTP API a request goes to. Pure.

Source: AWS, "Create routes for HTTP APIs": a full match with a method, then with ANY, then the longest greedy one, then
``$default``. A trailing slash counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Match:
    """A route, and the values of its path's variables."""

    route: Json
    parameters: dict[str, str]


def stage(stages: dict[str, Json], path: str) -> tuple[Json, str] | None:
    """The stage that a path's first segment names, else ``$default``, and the path behind it; None when there is none."""
    first, slash, rest = path.lstrip("/").partition("/")
    if (found := stages.get(unquote(first))) is not None and first != "$default":
        return found, f"/{rest}" if slash else "/"
    if (found := stages.get("$default")) is not None:
        return found, path or "/"
    return None


def route(routes: list[Json], method: str, path: str) -> Match | None:
    """The route of a request; None when none matches."""
    best: tuple[tuple[int, int, int], Match] | None = None
    default: Json | None = None
    for candidate in routes:
        if candidate["RouteKey"] == "$default":
            default = candidate
            continue
        wanted, _, pattern = candidate["RouteKey"].partition(" ")
        if wanted not in (method, "ANY"):
            continue
        found = _match(pattern, path)
        if found is None:
            continue
        values, fixed, greedy = found
        rank = (0 if greedy else 1, fixed, 1 if wanted == method else 0)
        if best is None or rank > best[0]:
            best = (rank, Match(candidate, values))
    if best is not None:
        return best[1]
    return Match(default, {}) if default is not None else None


def _match(pattern: str, path: str) -> tuple[dict[str, str], int, bool] | None:
    """Variables, how many segments are fixed, and whether the pattern ends in a greedy variable."""
    wanted, given = pattern.split("/")[1:], path.split("/")[1:]
    values: dict[str, str] = {}
    fixed = 0
    for number, part in enumerate(wanted):
        if part.startswith("{") and part.endswith("+}"):
            rest = "/".join(given[number:])
            if not rest:
                return None
            return {**values, part[1:-2]: unquote(rest)}, fixed, True
        if number >= len(given):
            return None
        if part.startswith("{") and part.endswith("}"):
            if not given[number]:
                return None
            values[part[1:-1]] = unquote(given[number])
        elif part == unquote(given[number]):
            fixed += 1
        else:
            return None
    return (values, fixed, False) if len(wanted) == len(given) else None
