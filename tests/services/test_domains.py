"""Domain names of users' own in front of HTTP and REST APIs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from clary.services.apis.domains import mapped
from tests.platform import Platform, until

from .test_access_logs import TELL
from .test_functions import create
from .test_http_apis import ECHO, api_of, permit
from .test_rest_apis import Api

CERTIFICATE = [{"CertificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/1", "EndpointType": "REGIONAL"}]


def ask(platform: Platform, host: str, path: str, method: str = "GET") -> tuple[int, Any]:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=20)
    try:
        connection.request(method, path, headers={"Host": host})
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")
    finally:
        connection.close()


def test_paths_lead_to_stages(platform: Platform, name: str) -> None:
    create(platform, name, ECHO)
    first = api_of(platform, name, "GET /x", "GET /")
    second = api_of(platform, name, "GET /x", stage="prod")
    create(platform, f"{name}-rest", TELL)
    rest = Api(platform, name)
    rest.proxy("/y/{id}", "GET", f"{name}-rest")
    rest.deploy()
    for function, api in ((name, first), (name, second), (f"{name}-rest", rest.id)):
        permit(platform, function, api)
    client, domain = platform.client("apigatewayv2"), f"API.{name}.example.com"
    made = client.create_domain_name(DomainName=domain, DomainNameConfigurations=CERTIFICATE, Tags={"a": "b"})
    (configuration,) = made["DomainNameConfigurations"]
    assert made["DomainName"] == domain.lower() and made["Tags"] == {"a": "b"}
    assert configuration["DomainNameStatus"] == "AVAILABLE" and configuration["ApiGatewayDomainName"].startswith("d-")
    assert ask(platform, domain, "/x") == (403, {"message": "Forbidden"})
    mappings = [
        client.create_api_mapping(DomainName=domain, ApiId=api, Stage=stage, ApiMappingKey=key)["ApiMappingId"]
        for api, stage, key in ((first, "$default", ""), (second, "prod", "v1/orders"), (rest.id, "prod", "v1"))
    ]
    until(lambda: ask(platform, domain, "/x")[0] == 200)
    assert ask(platform, domain, "/x")[1]["requestContext"]["apiId"] == first
    assert ask(platform, domain, "/v1/orders/x")[1]["requestContext"]["apiId"] == second
    status, told = ask(platform, domain, "/v1/y/7")
    assert (status, told[0]) == (201, {"id": "7"})
    assert ask(platform, domain, "/v1orders/x")[1] == {"message": "Not Found"}  # the first API has no such route
    with pytest.raises(ClientError, match="ApiMapping key already exists"):
        client.update_api_mapping(DomainName=domain, ApiMappingId=mappings[1], ApiId=second, ApiMappingKey="v1")
    with pytest.raises(ClientError, match="Invalid stage identifier"):
        client.create_api_mapping(DomainName=domain, ApiId=first, Stage="none")
    with pytest.raises(ClientError, match="delete them first"):
        client.delete_domain_name(DomainName=domain)
    assert len(client.get_api_mappings(DomainName=domain)["Items"]) == 3
    for mapping in mappings:
        client.delete_api_mapping(DomainName=domain, ApiMappingId=mapping)
    client.delete_domain_name(DomainName=domain)
    with pytest.raises(ClientError, match="Invalid domain name identifier"):
        client.get_domain_name(DomainName=domain)


def test_all_names_below_one(platform: Platform, name: str) -> None:
    create(platform, name, ECHO)
    api = api_of(platform, name, "GET /x")
    permit(platform, name, api)
    client = platform.client("apigatewayv2")
    client.create_domain_name(DomainName=f"*.{name}.example.com", DomainNameConfigurations=CERTIFICATE)
    client.create_api_mapping(DomainName=f"*.{name}.example.com", ApiId=api, Stage="$default")
    until(lambda: ask(platform, f"shop.{name}.example.com:80", "/x")[0] == 200)
    with pytest.raises(ClientError, match="already exists"):
        client.create_domain_name(DomainName=f"*.{name}.example.com", DomainNameConfigurations=CERTIFICATE)
    with pytest.raises(ClientError, match="Invalid domain name"):
        client.create_domain_name(DomainName="no name", DomainNameConfigurations=CERTIFICATE)


def test_templates_have_them(platform: Platform, name: str) -> None:
    create(platform, name, ECHO)
    domain = f"{name}.example.org"
    template = {
        "Resources": {
            "Api": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Name": name, "ProtocolType": "HTTP"}},
            "Stage": {"Type": "AWS::ApiGatewayV2::Stage", "Properties": {"ApiId": {"Ref": "Api"}, "StageName": "$default", "AutoDeploy": True}},
            "Domain": {"Type": "AWS::ApiGatewayV2::DomainName", "Properties": {"DomainName": domain, "DomainNameConfigurations": CERTIFICATE}},
            "Mapping": {"Type": "AWS::ApiGatewayV2::ApiMapping", "Properties": {"DomainName": {"Ref": "Domain"}, "ApiId": {"Ref": "Api"}, "Stage": {"Ref": "Stage"}}},
        },
        "Outputs": {"Target": {"Value": {"Fn::GetAtt": ["Domain", "RegionalDomainName"]}}},
    }  # fmt: skip
    client = platform.client("cloudformation")
    client.create_stack(StackName=name, TemplateBody=json.dumps(template))
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    found = client.describe_stacks(StackName=name)["Stacks"][0]["Outputs"][0]["OutputValue"]
    assert found.startswith("d-")
    until(lambda: ask(platform, domain, "/x") == (404, {"message": "Not Found"}))
    client.delete_stack(StackName=name)
    client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


@given(
    st.lists(st.sampled_from(["", "a", "a/b", "b", "a/b/c"]), unique=True), st.lists(st.sampled_from("abc"), max_size=4)
)
def test_the_longest_mapping_counts(keys: list[str], segments: list[str]) -> None:
    mappings = [{"ApiMappingKey": key, "ApiId": f"api:{key}", "Stage": "s"} for key in keys]
    path = "/" + "/".join(segments)
    fitting = [k for k in keys if not k or (path + "/").startswith(f"/{k}/")]
    found = mapped(mappings, path)
    if not fitting:
        assert found is None
        return
    best = max(fitting, key=len)
    assert found is not None and found.api == f"api:{best}"
    assert found.path == "/s/" + path.removeprefix(f"/{best}").lstrip("/")
