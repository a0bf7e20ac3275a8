"""A short campaign; ``make fuzz`` runs long ones."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from tests.fuzz.campaign import Campaign, Finding, judge, targets
from tests.fuzz.connection import Answer
from tests.fuzz.requests import Draft
from tests.fuzz.shrink import smaller
from tests.fuzz.values import Known, Maker
from tests.platform import started


def test_a_short_campaign_finds_nothing() -> None:
    with started(Path(tempfile.mkdtemp(prefix="clary-fuzz-")), CLARY_HOLD_SECONDS="1") as platform:
        campaign = Campaign(platform, seed=20, count=4000, seconds=25, workers=2, deadline=20).run()
        found = [finding.report() for finding in campaign.findings.values()] + campaign.strays()
    assert campaign.sent > 300
    assert not found, "\n".join(found)


def test_every_operation_can_be_asked_in_every_protocol() -> None:
    pick = random.Random(1)
    every = targets()
    assert {t.protocol for t in every} == {"json", "smithy-rpc-v2-cbor", "query", "rest-json", "rest-xml"}
    assert len({t.service for t in every}) == 15
    for target in every[::7]:
        for hostility in (0.0, 0.3):
            shape = target.operation.input_shape
            params = Maker(pick, Known(), hostility).parameters(shape) if shape else {}
            draft = target.draft(params)
            assert draft.method and draft.path.startswith("/") and target.operation.name in draft.label


def test_what_is_no_fault_is_none() -> None:
    draft = Draft("a")
    assert judge(draft, Answer(500)) == "answers 500"
    assert judge(draft, Answer(501, b"<Code>NotImplemented</Code>")) == ""
    assert judge(draft, Answer(503, b"The database is not available.")) == "answers 503"
    assert judge(draft, Answer(0, fault="closed")) == "closed"
    assert judge(draft, Answer(0, fault="hangs")) == "hangs"
    draft.broken = True
    assert judge(draft, Answer(0, fault="closed")) == ""
    assert judge(draft, Answer(0, fault="hangs")) == "hangs"


def test_findings_become_small() -> None:
    draft = Draft(
        "a", body=b'{"a": {"b": [1, {"c": "bad", "d": 2}], "e": 3}, "f": "x"}', query="q=1&r=2", headers={"h": "1"}
    )
    small = smaller(draft, lambda candidate: b"bad" in candidate.body, 500)
    assert (small.body, small.query, small.headers) == (b'{"a": {"b": [{"c": "bad"}]}}', "", {})
    told = Finding("answers 500", small, b"", Answer(500), "", True).report()
    assert "answers 500: a" in told and '{"c": "bad"}' in told
