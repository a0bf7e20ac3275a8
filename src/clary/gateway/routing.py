"""Which service a request is for, and in which protocol."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..provider.operation import Provider
from ..web import Request
from ..wire import signature
from ..wire.protocols import PROTOCOLS
from ..wire.regions import regions
from ..wire.signature import MalformedSignature

_RUNTIME_PATH = re.compile(r"^/endpoints/[^/]+/(?:invocations|async-invocations|invocations-response-stream)$")
_BUCKET_HOST = re.compile(
    r"^(?P<bucket>[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9])\.s3[.\-](?:[a-z0-9\-]+\.)*?(?:amazonaws\.com(?:\.cn)?|localhost)$"
)
_SIGNED_AS = {"execute-api": "apigateway"}


@dataclass(frozen=True, slots=True)
class Directory:
    """By what a request can name a service, as the services' models say it."""

    providers: Mapping[str, Provider]
    targets: Mapping[str, str]
    """Prefixes of the ``X-Amz-Target`` header."""
    versions: Mapping[str, str]
    """Versions of services of the query protocol, whose requests name nothing else."""
    hosts: Mapping[str, str]
    """What AWS's host names begin with."""

    @classmethod
    def of(cls, providers: Mapping[str, Provider]) -> Directory:
        """The directory of some services. Of two that share a host, the request's path decides."""
        models = {name: provider.model for name, provider in providers.items()}
        return cls(
            providers,
            {m.metadata["targetPrefix"]: name for name, m in models.items() if "targetPrefix" in m.metadata},
            {m.metadata["apiVersion"]: name for name, m in models.items() if "query" in m.protocols},
            {m.metadata["endpointPrefix"]: name for name, m in sorted(models.items(), reverse=True)},
        )


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes."""

    service: str
    protocol: str | None  # None: the service's preferred one
    region: str | None
    bucket: str | None = None  # named by the host
    host_region: str | None = None  # the region in the host's name: a signature for another one is not valid there


def route(request: Request, directory: Directory) -> Route:
    """Return the service of a request: its target header, signature scope, host, path – the first that decides.

    The authenticator then holds the scope against the service that was found.
    """
    host = request.headers.get("host", "").partition(":")[0].lower()
    region, signed = _scope(request)
    found = _find(request, directory, host, region, signed)
    named = _host_region(host)
    return found if named is None else replace(found, region=region or named, host_region=named)


def _find(request: Request, directory: Directory, host: str, region: str | None, signed: str | None) -> Route:
    headers, providers = request.headers, directory.providers
    if headers.get("smithy-protocol") == "rpc-v2-cbor":
        service = _signed_service(signed, request, providers) or "cloudwatch"
        return Route(service, "smithy-rpc-v2-cbor", region)
    if (target := headers.get("x-amz-target")) and signed != "s3":  # S3 has no targets: there it is a header like any
        prefix = target.rpartition(".")[0]
        return Route(
            directory.targets.get(prefix) or _signed_service(signed, request, providers) or prefix, "json", region
        )
    if signed and (owner := _signed_service(signed, request, providers)):
        return Route(owner, _protocol(owner, providers), region, _bucket(host) if owner == "s3" else None)
    if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) and (named := _by_host(host, directory)):
        return Route(named, _protocol(named, providers), region, _bucket(host) if named == "s3" else None)
    if _RUNTIME_PATH.match(request.path):
        return Route("sagemaker-runtime", None, region)
    form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if (form or "Action=" in request.query) and (named := _form_service(request, directory)):
        return Route(named, "query", region)
    return Route("s3", None, region, _bucket(host))


def _protocol(service: str, providers: Mapping[str, Provider]) -> str | None:
    provider = providers.get(service)
    if provider and "query" in provider.model.protocols and "query" in PROTOCOLS:
        return "query"
    return None


def _scope(request: Request) -> tuple[str | None, str | None]:
    """Region and service that a request was signed for, read as the authenticator reads them."""
    try:
        claim = signature.claimed(request.headers, request.query)
    except MalformedSignature:
        return None, None  # refused when the family that words the error is known
    return (claim.scope.region, claim.scope.service) if claim is not None else (None, None)


def _signed_service(signed: str | None, request: Request, providers: Mapping[str, Provider]) -> str | None:
    if signed == "sagemaker":
        return "sagemaker-runtime" if request.path.startswith("/endpoints/") else "sagemaker"
    if signed == "apigateway":
        return "apigatewayv2" if request.path.startswith("/v2/") else "apigateway"
    if signed is None:
        return None
    if (known := providers.get(signed)) is not None and known.signing == signed:
        return signed
    return next((p.name for p in providers.values() if p.signing == signed), _SIGNED_AS.get(signed, signed))


def _by_host(host: str, directory: Directory) -> str | None:
    name = host.removesuffix(".cn").removesuffix(".amazonaws.com")
    for prefix, service in directory.hosts.items():
        if name == prefix or name.startswith(prefix + ".") or (prefix == "s3" and _bucket(host)):
            return service
    return name.split(".", 1)[0]


def _host_region(host: str) -> str | None:
    """Return the region that an AWS host name ends with; None for global names and for names that are not AWS's."""
    if not host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return None
    last = host.removesuffix(".cn").removesuffix(".amazonaws.com").rpartition(".")[2]
    return last if last in regions() else None


def _bucket(host: str) -> str | None:
    found = _BUCKET_HOST.match(host)
    return found["bucket"] if found else None


def _form_service(request: Request, directory: Directory) -> str | None:
    found = re.search(r"Version=([\d-]{10})", request.query)
    version = found[1] if found else request.context.get("form-version")
    return directory.versions.get(version or "")
