"""Every operation of every served service: botocore writes, we read; we write, botocore reads."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any
from urllib.parse import urlencode

import botocore.parsers
import botocore.serialize
import botocore.session
import pytest
from botocore.awsrequest import HeadersDict
from botocore.model import ServiceModel

from clary.services._catalogue import services
from clary.wire.message import Request
from clary.wire.model import load
from clary.wire.protocols import PROTOCOLS

SERVICES = tuple(service.name for service in services())
_loader = botocore.session.Session().get_component("data_loader")
_ODD = ("Expires", "StatusCode")  # botocore reads S3's Expires as text; a status is no part of a body
_RETIRED = (  # models that name two things alike, or another host than ours
    "GetBucketNotification", "PutBucketNotification", "GetBucketLifecycle", "PutBucketLifecycle", "InvokeAsync",
    "ListDirectoryBuckets", "WriteGetObjectResponse",
)  # fmt: skip
_MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def _cases() -> list[tuple[str, str]]:
    cases = []
    for service in SERVICES:
        model = ServiceModel(_loader.load_service_model(service, "service-2"), service)
        cases += [(service, p) for p in model.metadata.get("protocols", [model.metadata["protocol"]]) if p in PROTOCOLS]
    return cases


def _value(shape: Any, chance: random.Random, depth: int = 0, path: tuple[str, ...] = ()) -> Any:
    if shape.type_name == "structure":
        if shape.is_document_type:
            return {"a": 1}
        if path.count(shape.name) > 1:
            return {}
        if shape.is_tagged_union:
            n, m = next(iter(shape.members.items()))
            return {n: _value(m, chance, depth + 1, (*path, shape.name))}
        return {
            n: _value(m, chance, depth + 1, (*path, shape.name))
            for n, m in shape.members.items()
            if (n in shape.required_members or (depth < 3 and chance.random() < 0.8))
            and not m.serialization.get("eventstream")
        }
    if shape.type_name == "list":
        if path.count(shape.name) > 1:
            return []
        return [_value(shape.member, chance, depth + 1, (*path, shape.name)) for _ in range(chance.choice([1, 2]))]
    if shape.type_name == "map":
        keys = [_value(shape.key, chance) if getattr(shape.key, "enum", None) else f"k{i}" for i in range(2)]
        return {k: _value(shape.value, chance, depth + 1, (*path, shape.name)) for k in keys}
    if shape.type_name == "string":
        if shape.serialization.get("jsonvalue"):
            return {"a": [1]}
        allowed = getattr(shape, "enum", None)
        return chance.choice(allowed or ["abc", 'x y&<>"', "é/z+%", "0"])
    scalars = {
        "integer": lambda: chance.choice([0, 1, 77]), "long": lambda: chance.choice([0, 1, 77]),
        "float": lambda: chance.choice([0.5, 1.0]), "double": lambda: chance.choice([0.5, 3.25]),
        "boolean": lambda: chance.random() < 0.5, "blob": lambda: b"\x00blob", "timestamp": lambda: _MOMENT,
    }  # fmt: skip
    return scalars[shape.type_name]()


def _plain(value: Any) -> Any:
    """A value without what the wire cannot tell apart: absent, empty and null; moments as seconds."""
    if isinstance(value, dict):
        return {k: c for k, v in value.items() if k not in _ODD and (c := _plain(v)) not in ({}, [], None, "")}
    if isinstance(value, (list, tuple)):
        return [c for v in value if (c := _plain(v)) != {}]
    if isinstance(value, dt.datetime):
        return round(value.timestamp(), 3)
    if hasattr(value, "read"):
        return value.read().decode("latin1")
    if isinstance(value, bytes):
        return value.decode("latin1")
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


@pytest.mark.parametrize(("service", "protocol"), _cases())
def test_requests_that_botocore_writes_are_read_as_they_were_meant(service: str, protocol: str) -> None:
    model = ServiceModel(_loader.load_service_model(service, "service-2"), service)
    codec = PROTOCOLS[protocol](load(service))
    serializer = botocore.serialize.create_serializer(protocol, False)
    chance = random.Random(7)
    for name in model.operation_names:
        operation = model.operation_model(name)
        if name in _RETIRED:
            continue
        params = _value(operation.input_shape, chance) if operation.input_shape else {}
        made = serializer.serialize_to_request(params, operation)
        body = made["body"]
        body = urlencode(body).encode() if isinstance(body, dict) else body.read() if hasattr(body, "read") else body
        body = body.encode() if isinstance(body, str) else body or b""
        path, _, fixed = made["url_path"].partition("?")
        query = "&".join(q for q in (fixed, urlencode(made.get("query_string") or {}, doseq=True)) if q)
        headers = {k.lower(): v if isinstance(v, str) else v.decode() for k, v in made["headers"].items()}
        found, got = codec.read(Request(made["method"], path, query, headers, body))
        assert found.name == name
        assert _plain(got) == _plain(params), name


@pytest.mark.parametrize(("service", "protocol"), _cases())
def test_answers_that_we_write_are_read_by_botocore_as_they_were_meant(service: str, protocol: str) -> None:
    model = ServiceModel(_loader.load_service_model(service, "service-2"), service)
    ours = load(service)
    codec, parser = PROTOCOLS[protocol](ours), botocore.parsers.PROTOCOL_PARSERS[protocol]()
    chance = random.Random(11)
    for name in model.operation_names:
        operation = model.operation_model(name)
        if operation.has_event_stream_output or name in _RETIRED:
            continue
        result = _value(operation.output_shape, chance) if operation.output_shape else {}
        written = codec.write(ours.operations[name], result, "request-id")
        status = 200 if written.status < 300 else written.status
        answer = {"status_code": status, "headers": HeadersDict(written.headers), "body": written.body}
        got = parser.parse({**answer, "context": {"operation_name": name}}, operation.output_shape)
        got.pop("ResponseMetadata", None)
        if "ContentType" not in result:
            got.pop("ContentType", None)  # a body of bytes always has a type
        assert _plain(got) == _plain(result), name
