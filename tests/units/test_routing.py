"""Requests find their service by what its model says."""

from __future__ import annotations

import pytest

from clary.gateway.routing import Directory, route
from clary.provider.operation import Provider
from clary.services._catalogue import services
from clary.web import Request

PROVIDERS: dict[str, Provider] = {service.name: service.provider for service in services()}
DIRECTORY = Directory.of(PROVIDERS)
SHARED = {"apigatewayv2": "apigateway"}  # one host, one signing name: the path tells them apart


def asked(method: str = "POST", path: str = "/", query: str = "", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, f"{path}?{query}", path, query, named, body=None)  # type: ignore[arg-type]  # not read


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_host_of_aws_names_its_service(name: str) -> None:
    prefix = PROVIDERS[name].model.metadata["endpointPrefix"]
    found = route(asked(host=f"{prefix}.eu-west-1.amazonaws.com"), DIRECTORY)
    assert (found.service, found.region) == (SHARED.get(name, name), "eu-west-1")


@pytest.mark.parametrize("name", [n for n, p in PROVIDERS.items() if "query" in p.model.protocols])
def test_a_form_names_its_service_by_the_version(name: str) -> None:
    version = PROVIDERS[name].model.metadata["apiVersion"]
    found = route(asked("GET", query=f"Action=X&Version={version}", host="localhost"), DIRECTORY)
    assert (found.service, found.protocol) == (name, "query")


@pytest.mark.parametrize("name", [n for n, p in PROVIDERS.items() if "targetPrefix" in p.model.metadata])
def test_a_target_names_its_service(name: str) -> None:
    target = f"{PROVIDERS[name].model.metadata['targetPrefix']}.Describe"
    assert route(asked(host="localhost", x_amz_target=target), DIRECTORY).service == name


def test_a_bucket_may_be_named_by_the_host() -> None:
    found = route(asked("GET", "/key", host="my.bucket.s3.eu-west-1.amazonaws.com"), DIRECTORY)
    assert (found.service, found.bucket, found.host_region) == ("s3", "my.bucket", "eu-west-1")


def test_what_names_nothing_is_s3s() -> None:
    assert route(asked("GET", "/bucket/key", host="localhost"), DIRECTORY).service == "s3"
