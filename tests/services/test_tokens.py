"""HTTP APIs whose callers bring tokens of an OpenID issuer: one that runs beside the test, with RSA keys of its own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.platform import Platform, started

from .test_functions import create
from .test_http_apis import ECHO, api_of, ask, permit
from .test_rest_apis import Api

TELL = """
import json
def handler(event, context):
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(event)}
"""
POOL = "us-east-1_Shop"  # a user pool's tokens are from the issuer at this path
KEY, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """Publishes one key, by the name ``k1``."""
    published = {**jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k1", "use": "sig"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pages: dict[str, Any] = {
                "/.well-known/openid-configuration": {"issuer": where, "jwks_uri": f"{where}/keys"},
                "/keys": {"keys": [{"kty": "EC", "kid": "other"}, published]},
            }
            path = self.path.removeprefix(f"/{POOL}")
            body = json.dumps(pages.get(path, {})).encode()
            self.send_response(200 if path in pages else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        where = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield where
        server.shutdown()


def guarded(platform: Platform, name: str, issuer: str, *scopes: str, version: str = "2.0") -> str:
    """An API with one route that wants tokens."""
    create(platform, name, TELL)
    api = api_of(platform, name, "GET /x", version=version)
    permit(platform, name, api)
    client = platform.client("apigatewayv2")
    settings = {"Issuer": issuer, "Audience": ["shop"]}
    made = client.create_authorizer(
        ApiId=api, Name="tokens", AuthorizerType="JWT", IdentitySource=["$request.header.Authorization"],
        JwtConfiguration=settings,
    )  # fmt: skip
    assert made["JwtConfiguration"] == settings and "AuthorizerPayloadFormatVersion" not in made
    (route,) = client.get_routes(ApiId=api)["Items"]
    client.update_route(
        ApiId=api, RouteId=route["RouteId"], AuthorizationType="JWT", AuthorizerId=made["AuthorizerId"],
        AuthorizationScopes=list(scopes),
    )  # fmt: skip
    return api


def token(issuer: str, key: Any = KEY, kid: str = "k1", algorithm: str = "RS256", **claims: Any) -> str:
    whole = {"iss": issuer, "sub": "u1", "aud": "shop", "exp": time.time() + 600, "groups": ["a", "b"], **claims}
    return jwt.encode({k: v for k, v in whole.items() if v is not None}, key, algorithm, {"kid": kid})


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_functions_learn_who_calls(platform: Platform, name: str, issuer: str, version: str) -> None:
    api = guarded(platform, name, issuer, "read", "write", version=version)
    good = token(issuer, scope="write more")
    for sent in (f"Bearer {good}", good):
        status, _, event = ask(platform, api, "/x", Authorization=sent)
        assert status == 200, event
        found = event["requestContext"]["authorizer"]
        found = found["jwt"] if version == "2.0" else found
        assert found["claims"]["sub"] == "u1" and found["claims"]["groups"] == "[a b]"
        assert found["scopes"] == ["write", "more"]
    by_client = token(issuer, aud=None, client_id="shop", scp=["read"])
    assert ask(platform, api, "/x", Authorization=by_client)[0] == 200


def test_who_has_no_good_token_is_told_why(platform: Platform, name: str, issuer: str) -> None:
    api = guarded(platform, name, issuer, "read")
    for sent, words in (
        (token(issuer, scope="read", exp=time.time() - 5), "the token has expired"),
        (token(issuer, scope="read", nbf=time.time() + 500), "the token is not valid yet"),
        (token(issuer, scope="read", aud="elsewhere"), "the token does not have a valid audience"),
        (token(issuer, scope="read", aud=None, client_id=[["shop"], 5]), "the token does not have a valid audience"),
        (token("https://elsewhere.example.com", scope="read"), "issuer does not match"),
        (token(issuer, OTHER, scope="read"), "signature is invalid"),
        (token(issuer, kid="k2", scope="read"), "key with kid not found"),
        (token(issuer, "s" * 32, algorithm="HS256", scope="read"), "signing method is invalid"),
        ("nonsense", "signing method is invalid"),
        (jwt.encode({"iss": issuer, "aud": "shop"}, KEY, "RS256", {"kid": "k1"}), "signature is invalid"),
    ):
        status, headers, body = ask(platform, api, "/x", Authorization=f"Bearer {sent}")
        assert (status, body) == (401, {"message": "Unauthorized"}), words
        assert 'Bearer scope="read" error="invalid_token"' in headers["www-authenticate"]
        assert words in headers["www-authenticate"]
    status, headers, _ = ask(platform, api, "/x")
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert ask(platform, api, "/x", Authorization=token(issuer, scope=7))[0] == 403
    status, headers, body = ask(platform, api, "/x", Authorization=token(issuer, scope="write"))
    assert (status, body) == (403, {"message": "Forbidden"}) and "insufficient_scope" in headers["www-authenticate"]


def test_issuers_that_cannot_be_asked(platform: Platform, name: str) -> None:
    api = guarded(platform, name, "http://127.0.0.1:1")
    status, headers, _ = ask(platform, api, "/x", Authorization=token("http://127.0.0.1:1"))
    assert status == 401 and "OIDC discovery endpoint communication error" in headers["www-authenticate"]
    client = platform.client("apigatewayv2")
    for settings in (
        {"Issuer": "http://issuer.example.com", "Audience": ["a"]},
        {"Issuer": "https://issuer.example.com"},
    ):
        with pytest.raises(ClientError, match=r"issuer must be an https URL|an Issuer and an Audience is required"):
            client.create_authorizer(
                ApiId=api, Name="t", AuthorizerType="JWT", IdentitySource=["$request.header.A"],
                JwtConfiguration=settings,
            )  # fmt: skip


def test_documents_and_templates_have_them_too(platform: Platform, name: str, issuer: str) -> None:
    create(platform, name, ECHO)
    uri = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    scheme = {
        "type": "oauth2", "flows": {},
        "x-amazon-apigateway-authorizer": {
            "type": "jwt", "identitySource": "$request.header.Authorization",
            "jwtConfiguration": {"issuer": issuer, "audience": ["shop"]},
        },
    }  # fmt: skip
    integration = {"type": "aws_proxy", "uri": uri, "payloadFormatVersion": "2.0"}
    operation = {"security": [{"tokens": ["read"]}], "x-amazon-apigateway-integration": integration}
    document = {
        "openapi": "3.0.1", "info": {"title": name}, "paths": {"/x": {"get": operation}},
        "components": {"securitySchemes": {"tokens": scheme}},
    }  # fmt: skip
    client = platform.client("apigatewayv2")
    api = client.import_api(Body=json.dumps(document))["ApiId"]
    client.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    permit(platform, name, api)
    assert ask(platform, api, "/x", Authorization=token(issuer, scope="read"))[0] == 200
    assert ask(platform, api, "/x", Authorization=token(issuer, scope="write"))[0] == 403


def test_rest_apis_take_tokens_of_user_pools(home: Path, issuer: str) -> None:
    with started(home / "h", CLARY_COGNITO=issuer) as platform:
        create(platform, "tell", TELL)
        api = Api(platform, "shop")
        permit(platform, "tell", api.id)
        arn = f"arn:aws:cognito-idp:us-east-1:000000000000:userpool/{POOL}"
        given = {"restApiId": api.id, "name": "pool", "type": "COGNITO_USER_POOLS"}
        with pytest.raises(ClientError, match="Invalid Cognito User Pool ARN"):
            api.client.create_authorizer(**given, identitySource="method.request.header.Authorization")
        made = api.client.create_authorizer(
            **given, identitySource="method.request.header.Authorization", providerARNs=[arn]
        )
        assert made["authType"] == "cognito_user_pools" and made["providerARNs"] == [arn]
        with pytest.raises(ClientError, match="requires a valid authorizer"):
            api.proxy("/no", "GET", "tell", authorizationType="CUSTOM", authorizerId=made["id"])
        access: dict[str, Any] = {"authorizationType": "COGNITO_USER_POOLS", "authorizerId": made["id"]}
        api.proxy("/id", "GET", "tell", **access)
        api.proxy("/access", "GET", "tell", **access, authorizationScopes=["shop/read"])
        api.deploy()
        pool = f"{issuer}/{POOL}"
        identity = token(pool, token_use="id", **{"cognito:username": "ann"})
        reader = token(pool, token_use="access", aud=None, client_id="any", scope="shop/read")
        for sent in (identity, f"Bearer {identity}"):
            status, _, event = api.ask("/prod/id", "GET", Authorization=sent)
            assert status == 200, platform.log()
            claims = event["requestContext"]["authorizer"]["claims"]
            assert status == 200 and claims["cognito:username"] == "ann" and claims["sub"] == "u1"
        assert api.ask("/prod/access", "GET", Authorization=reader)[0] == 200
        unauthorized = (401, {"message": "Unauthorized"})
        for path, sent in (
            ("id", reader), ("access", identity), ("id", token(issuer, token_use="id")), ("id", "nonsense"), ("id", ""),
            ("access", token(pool, token_use="access", scope="shop/write")), ("id", token(pool, OTHER, token_use="id")),
        ):  # fmt: skip
            assert api.ask(f"/prod/{path}", "GET", Authorization=sent)[::2] == unauthorized, (path, sent)
        expired = token(pool, token_use="id", exp=time.time() - 5)
        assert api.ask("/prod/id", "GET", Authorization=expired)[::2] == (
            401,
            {"message": "The incoming token has expired"},
        )
        client, names = api.client, {"restApiId": api.id, "authorizerId": made["id"]}
        second = arn.replace("Shop", "Other")
        operation = {"op": "add", "path": "/providerARNs", "value": second}
        assert client.update_authorizer(**names, patchOperations=[operation])["providerARNs"] == [arn, second]
