"""HTTP APIs: API Gateway's second version."""

from __future__ import annotations

from collections.abc import Callable

from ..kind import Json, Kind, Made, Work, gone, only, retag, tags_of, texts
from .rest_apis import api_document

Attributes = Callable[[Work, Json], Json]


def _part(
    thing: str,
    identifier: str,
    attributes: Attributes = lambda work, made: {},
    place: str = "ApiId",
    **more: tuple[str, ...],
) -> Kind:
    """A type that three operations make, change and remove, with properties that are the operations' members."""
    create, update = f"create_{thing}", f"update_{thing}"
    ignores = more.get("ignores", ())

    def made(work: Work, props: Json) -> Made:
        given = _texts({k: v for k, v in props.items() if k not in ignores})
        found = getattr(work.client("apigatewayv2"), create)(**given)
        return Made(found[identifier], attributes(work, found))

    def changed(work: Work, physical: str, old: Json, props: Json) -> Made:
        client = work.client("apigatewayv2")
        given = _texts({k: v for k, v in props.items() if k not in (*ignores, "Tags")})
        if "AccessLogSettings" in old and "AccessLogSettings" not in props:
            client.delete_access_log_settings(**only(props, "ApiId", "StageName"))
        found = getattr(client, update)(**{**given, identifier: physical})
        _retag(work, old, props, physical, thing)
        return Made(physical, attributes(work, found))

    def removed(work: Work, physical: str, props: Json) -> None:
        gone(getattr(work.client("apigatewayv2"), f"delete_{thing}"), **{**only(props, place), identifier: physical})

    return Kind(made, removed, changed, more.get("fixed", ()), ignores)


def _texts(props: Json) -> Json:
    return {**props, "StageVariables": texts(props["StageVariables"])} if props.get("StageVariables") else props


def _retag(work: Work, old: Json, props: Json, physical: str, thing: str) -> None:
    client = work.client("apigatewayv2")
    path = {"stage": f"apis/{props.get('ApiId')}/stages/{physical}", "domain_name": f"domainnames/{physical}"}
    arn = f"arn:aws:apigateway:{work.region}::/{path.get(thing, f'apis/{physical}')}"
    retag(
        old, props, lambda tags: client.tag_resource(ResourceArn=arn, Tags=tags),
        lambda keys: client.untag_resource(ResourceArn=arn, TagKeys=keys),
    )  # fmt: skip


def _domain_attributes(work: Work, made: Json) -> Json:
    first = made["DomainNameConfigurations"][0] if made["DomainNameConfigurations"] else {}
    return {
        "RegionalDomainName": first.get("ApiGatewayDomainName"), "RegionalHostedZoneId": first.get("HostedZoneId"),
        "DomainNameArn": f"arn:aws:apigateway:{work.region}::/domainnames/{made['DomainName']}",
    }  # fmt: skip


# ---- APIs, which may come as OpenAPI documents -----------------------------------------------------------------------

_UNUSED = ("ApiKeySelectionExpression", "BasePath", "DisableSchemaValidation", "FailOnWarnings", "IpAddressType")
_OF_DOCUMENTS = ("Body", "BodyS3Location")


def _api(work: Work, props: Json) -> Made:
    client, given = work.client("apigatewayv2"), {k: v for k, v in props.items() if k not in (*_UNUSED, *_OF_DOCUMENTS)}
    if body := api_document(work, props):
        made = client.import_api(Body=body)
        _over_the_document(work, made["ApiId"], props)
        _retag(work, {}, props, made["ApiId"], "api")
    else:
        made = client.create_api(**{**given, "Tags": tags_of(props)})
    return Made(made["ApiId"], {"ApiEndpoint": made["ApiEndpoint"], "ApiId": made["ApiId"]})


def _over_the_document(work: Work, api: str, props: Json) -> None:
    given = only(props, "Name", "Description", "CorsConfiguration", "Version", "DisableExecuteApiEndpoint")
    if given:
        work.client("apigatewayv2").update_api(ApiId=api, **given)


def _changed_api(work: Work, api: str, old: Json, props: Json) -> Made:
    client = work.client("apigatewayv2")
    if body := api_document(work, props):
        client.reimport_api(ApiId=api, Body=body)
        _over_the_document(work, api, props)
    else:
        if old.get("CorsConfiguration") and not props.get("CorsConfiguration"):
            client.delete_cors_configuration(ApiId=api)
        kept = ("ProtocolType", "Tags", *_UNUSED, *_OF_DOCUMENTS)
        client.update_api(ApiId=api, **{k: v for k, v in props.items() if k not in kept})
    _retag(work, old, props, api, "api")
    return Made(api, work.before)


KINDS: dict[str, Kind] = {
    "AWS::ApiGatewayV2::Api": Kind(
        _api, lambda w, i, p: gone(w.client("apigatewayv2").delete_api, ApiId=i), _changed_api, ("Target", "RouteKey"), _UNUSED
    ),
    "AWS::ApiGatewayV2::Route": _part("route", "RouteId"),
    "AWS::ApiGatewayV2::Integration": _part("integration", "IntegrationId", fixed=("IntegrationType",)),
    "AWS::ApiGatewayV2::Deployment": _part("deployment", "DeploymentId", fixed=("Description", "StageName")),
    "AWS::ApiGatewayV2::Stage": _part("stage", "StageName"),
    "AWS::ApiGatewayV2::DomainName": _part(
        "domain_name", "DomainName", _domain_attributes, place="DomainName", ignores=("RoutingMode",)
    ),
    "AWS::ApiGatewayV2::ApiMapping": _part("api_mapping", "ApiMappingId", place="DomainName"),
    "AWS::ApiGatewayV2::Authorizer": _part("authorizer", "AuthorizerId"),
}  # fmt: skip
