"""Mapping templates of REST APIs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clary.services.apis.rest.mapping import Source, TemplateFailed, filled, render, value


def source(body: Any) -> Source:
    return Source(
        json.dumps(body), {"id": "7"}, {"q": "1"}, {"X-A": "h"}, {"stage": "prod", "identity": {"sourceIp": "::1"}}, {"v": "w"},
        {"q": ["0", "1"]},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("$input.path('$.a')", "x"),
        ("$input.json('$')", '{"a": "x", "n": [1, 2]}'),
        ("$input.params('id')$input.params('q')$input.params('x-a')$input.params('none')", "71h"),
        ("#foreach($i in $input.path('$.n'))$i#if($foreach.hasNext),#end#end", "1,2"),
        ("$context.stage $context.identity.sourceIp $stageVariables.v", "prod ::1 w"),
        ("#set($m = $util.parseJson('{\"k\": 1}'))$m.size() $m.get('k') $m.containsKey('z')", "1 1 false"),
        (
            "$util.urlEncode('a b')$util.base64Encode('x')$util.base64Decode('eA==')$util.escapeJavaScript('\"')",
            'a%20beA==x\\"',
        ),
    ],
)
def test_what_templates_may_ask(template: str, found: str) -> None:
    assert render(template, source({"a": "x", "n": [1, 2]}), {}) == found


@pytest.mark.parametrize(
    "template",
    [
        "$input.__class__", "$input.path.__globals__", "${input._source.context}", "$util.__class__.__mro__",
        "#set($x = $input.path.__func__)$x", "$input.path('$.a').format($input)", "$input.path('$.a') . format_map($context)",
        "#evaluate($input.path('$.a'))", "#parse('/etc/passwd')", "#{include}('/etc/passwd')", "$input.\n_source",
        "#foreach($i in [1..100000])x#end", "#foreach($i in [1..$input.path('$.n')])x#end", "x" * 400_000,
    ],
)  # fmt: skip
def test_templates_cannot_leave(template: str) -> None:
    with pytest.raises(TemplateFailed):
        render(template, source({"a": "{0.__class__}"}), {})


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("'fixed'", "fixed"), ("method.request.path.id", "7"), ("method.request.querystring.q", "1"),
        ("method.request.header.x-a", "h"), ("method.request.body.a", "x"), ("method.request.body.n", "[1, 2]"),
        ("context.identity.sourceIp", "::1"), ("stageVariables.v", "w"), ("method.request.path.none", None),
        ("method.request.multivaluequerystring.q", "0,1"), ("unknown.thing", None),
    ],
)  # fmt: skip
def test_what_parameters_stand_for(expression: str, found: str | None) -> None:
    assert value(expression, source({"a": "x", "n": [1, 2]})) == found


def test_stage_variables_are_filled_in() -> None:
    assert filled("a${stageVariables.v}b${stageVariables.none}c", {"v": "w"}) == "awbc"


def test_a_loop_ends_after_a_thousand() -> None:
    body = {"n": list(range(5000))}
    template = "#foreach($i in $input.path('$.n'))x#end $input.path('$.n').size()"
    assert render(template, source(body), {}) == "x" * 1000 + " 5000"
    assert render("#foreach($i in [1..3])$i#end", source(body), {}) == "123"
