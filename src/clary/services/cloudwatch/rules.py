"""Rules of composite alarms: ``ALARM("a") AND (NOT OK("b") OR INSUFFICIENT_DATA(c))``.

Grammar: AWS, "PutCompositeAlarm", AlarmRule. NOT binds before AND, AND before OR.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

MAX_ALARMS = 100
MAX_DEPTH = 50
STATES = ("ALARM", "OK", "INSUFFICIENT_DATA")
_TOKEN = re.compile(r'\s*(?:(?P<name>"(?:[^"\\]|\\.)*")|(?P<mark>[()])|(?P<word>[^\s()"]+))')

State = Callable[[str], str]
"""The state of an alarm, by its name."""
Test = Callable[[State], bool]


class RuleError(Exception):
    """A rule that cannot be read; the text says where."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, and the names of the alarms that it looks at, in the order in which they appear."""

    holds: Test
    alarms: tuple[str, ...]


def compile_rule(text: str) -> Rule:
    """A rule from its text; RuleError."""
    reader = _Reader(text)
    test = reader.either()
    if (left := reader.peek()) is not None:
        raise RuleError(f"unexpected {left!r}")
    if len(set(reader.alarms)) > MAX_ALARMS:
        raise RuleError(f"a rule looks at up to {MAX_ALARMS} alarms")
    return Rule(test, tuple(dict.fromkeys(reader.alarms)))


class _Reader:
    """Reads a rule from left to right."""

    def __init__(self, text: str):
        self.alarms: list[str] = []
        self._tokens: list[str] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise RuleError(f"unexpected {text[at : at + 20]!r}")
            self._tokens.append(found[0].strip())
            at = found.end()
        self._at = 0
        self._depth = 0

    def peek(self) -> str | None:
        """The next token, if there is one."""
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, wanted: str | None = None) -> str:
        token = self.peek()
        if token is None or (wanted is not None and token != wanted):
            raise RuleError(f"{wanted or 'an expression'} is missing {f'before {token!r}' if token else 'at the end'}")
        self._at += 1
        return token

    def either(self) -> Test:
        """Parts joined by OR."""
        parts = [self._both()]
        while (self.peek() or "").upper() == "OR":
            self._take()
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda state: any(p(state) for p in parts)

    def _both(self) -> Test:
        parts = [self._one()]
        while (self.peek() or "").upper() == "AND":
            self._take()
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda state: all(p(state) for p in parts)

    def _one(self) -> Test:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RuleError(f"it is nested more than {MAX_DEPTH} deep")
        try:
            return self._simple()
        finally:
            self._depth -= 1

    def _simple(self) -> Test:
        token = self._take()
        match token.upper():
            case "(":
                inner = self.either()
                self._take(")")
                return inner
            case "NOT":
                inner = self._one()
                return lambda state: not inner(state)
            case "TRUE":
                return lambda _: True
            case "FALSE":
                return lambda _: False
            case word if word in STATES:
                return self._state(word)
        raise RuleError(f"unexpected {token!r}; expected {', '.join(STATES)}, TRUE, FALSE, NOT or (")

    def _state(self, wanted: str) -> Test:
        self._take("(")
        text = self._take()
        name = re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
        if name in ("(", ")"):
            raise RuleError(f"{wanted} needs the name of an alarm")
        name = name.rpartition(":alarm:")[2]
        self._take(")")
        self.alarms.append(name)
        return lambda state: state(name) == wanted
