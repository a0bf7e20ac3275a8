"""Users' patterns."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.patterns import PatternError, TooSlow, compile_pattern, matches, wildcard


def test_time_is_linear() -> None:
    began = time.monotonic()
    assert not compile_pattern("(a|a)*b").full("a" * 100_000)
    assert compile_pattern("(x+x+)+y").search("x" * 100_000) is None
    assert not wildcard("a*" * 30 + "b").full("a" * 10_000)
    assert time.monotonic() - began < 20


def test_what_the_engine_lacks_is_said() -> None:
    for pattern in ("(?=a)b", r"(a)\1", "(?<!a)b", "a{2000}"):
        with pytest.raises(PatternError, match=r"not supported.*linear time"):
            compile_pattern(pattern)
    with pytest.raises(PatternError, match="is not a regular expression"):
        compile_pattern("(")


def test_the_rest_runs_apart_and_has_a_deadline() -> None:
    assert matches(r"(a)\1", "aa") and not matches(r"(a)\1", "ab")
    with pytest.raises(TooSlow):
        matches(r"(?=a)(a+)+$", "a" * 60 + "!")


def test_groups_are_found() -> None:
    assert compile_pattern(r"loss=([0-9.]+)( x)?").search("step 3 loss=0.5;") == ("loss=0.5", "0.5", None)


@given(st.text(alphabet="ab*?[.\n", max_size=8), st.text(alphabet="ab[.\n", max_size=8))
def test_wildcards_mean_what_they_say(pattern: str, text: str) -> None:
    def fits(p: str, t: str) -> bool:
        if not p:
            return not t
        if p[0] == "*":
            return fits(p[1:], t) or bool(t and fits(p, t[1:]))
        return bool(t) and (p[0] in ("?", t[0])) and fits(p[1:], t[1:])

    assert wildcard(pattern).full(text) == fits(pattern, text)
