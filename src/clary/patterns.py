"""Regular expressions that a user wrote, on an engine that takes linear time whatever the pattern and the text.

Python's own engine goes back and tries again: a pattern such as ``(a+)+b`` holds the interpreter for hours. This one (RE2)
has no look-around, no back-references and no repetition above a thousand; a pattern that needs them is refused, or run by
`matches_slowly` in a process of its own with a deadline.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import lru_cache
from typing import Any

import re2

_MAX_LENGTH = 16 << 10
_CPU_SECONDS = 1
_WALL_SECONDS = 10.0
_PROGRAM = f"""
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, ({_CPU_SECONDS}, {_CPU_SECONDS}))
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
pattern, text = json.load(sys.stdin)
sys.exit(0 if re.fullmatch(pattern, text) else 3)
"""


class PatternError(ValueError):
    """A pattern that is not one, or that needs what the linear engine lacks."""


class TooSlow(ValueError):
    """A pattern that did not decide about a text before its deadline."""


class Pattern:
    """A compiled pattern."""

    __slots__ = ("_compiled", "groups", "text")

    def __init__(self, text: str, *, dot_all: bool = False, ignore_case: bool = False):
        if len(text) > _MAX_LENGTH:
            raise PatternError(f"the pattern has more than {_MAX_LENGTH} characters")
        options = re2.Options()
        options.log_errors = False
        options.dot_nl = dot_all
        options.case_sensitive = not ignore_case
        try:
            self._compiled: Any = re2.compile(text, options)
        except (re2.error, UnicodeError) as error:
            raise PatternError(_reason(text, error)) from None
        self.text = text
        self.groups: int = self._compiled.groups

    def full(self, text: str) -> bool:
        """Return whether the whole of a text matches."""
        return self._compiled.fullmatch(text) is not None

    def search(self, text: str) -> tuple[str | None, ...] | None:
        """Return the first match in a text, the whole of it before its groups; None if there is none."""
        found = self._compiled.search(text)
        return None if found is None else (found.group(0), *found.groups())


def _reason(text: str, error: Exception) -> str:
    detail = error.args[0] if error.args else ""
    said = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        return f"the pattern is not a regular expression: {said}"
    return (
        f"the pattern is not supported: {said}. Patterns run in an engine of linear time (RE2), which has no look-around, no "
        "back-references and no repetition above 1000."
    )


@lru_cache(1024)
def compile_pattern(text: str, dot_all: bool = False) -> Pattern:
    """Return a pattern, compiled once; PatternError if the engine does not take it."""
    return Pattern(text, dot_all=dot_all)


@lru_cache(1024)
def wildcard(text: str) -> Pattern:
    """Return a pattern in which ``*`` stands for any text and ``?`` for one character."""
    parts = (".*" if c == "*" else "." if c == "?" else re2.escape(c) for c in text)
    return Pattern("".join(parts), dot_all=True)


def matches(pattern: str, text: str) -> bool:
    """Return whether the whole of a text matches; PatternError if the pattern is none, TooSlow if it does not end."""
    try:
        return compile_pattern(pattern).full(text)
    except PatternError as error:
        if "not supported" not in str(error):
            raise
    return matches_slowly(pattern, text)


def matches_slowly(pattern: str, text: str) -> bool:
    """Return what Python's engine says, in a process that may use a second of a processor; TooSlow after that."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROGRAM], input=json.dumps([pattern, text]).encode(), env={},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_WALL_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise TooSlow("the pattern takes too long on this text") from None
    if done.returncode not in (0, 3):
        raise TooSlow("the pattern takes too long on this text")
    return done.returncode == 0
