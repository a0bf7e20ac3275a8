"""Documents that travel as text or bytes inside requests: policies, templates, API descriptions, schemas, expressions."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from typing import Any

_ROLE = "arn:aws:iam::000000000000:role/fuzz"
_FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:fuzz"
_INVOKE = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{_FUNCTION}/invocations"
_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "A", "Effect": "Allow", "Principal": {"AWS": "*", "Service": ["lambda.amazonaws.com"]}, "Action": ["s3:Get*"],
            "Resource": ["arn:aws:s3:::fuzz/*"], "Condition": {"StringLike": {"aws:PrincipalArn": ["*"]}},
        }
    ],
}  # fmt: skip
_TEMPLATE = {
    "AWSTemplateFormatVersion": "2010-09-09",
    "Description": "a",
    "Transform": "AWS::Serverless-2016-10-31",
    "Parameters": {"P": {"Type": "String", "Default": "a", "AllowedPattern": "(a|b)+", "MinLength": 1, "MaxLength": 9}},
    "Mappings": {"M": {"a": {"b": "c"}}},
    "Conditions": {"C": {"Fn::Equals": [{"Ref": "P"}, "a"]}, "D": {"Fn::Or": [{"Condition": "C"}, {"Fn::Not": [{"Condition": "C"}]}]}},
    "Rules": {"R": {"Assertions": [{"Assert": {"Fn::Contains": [["a"], {"Ref": "P"}]}, "AssertDescription": "x"}]}},
    "Resources": {
        "Q": {
            "Type": "AWS::SSM::Parameter", "Condition": "C", "DependsOn": ["T"], "DeletionPolicy": "Delete",
            "Properties": {
                "Type": "String",
                "Value": {"Fn::Join": ["-", [{"Ref": "P"}, {"Fn::FindInMap": ["M", "a", "b"]}, {"Fn::Select": [0, {"Fn::Split": [",", "a,b"]}]}]]},
            },
        },
        "T": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": {"Fn::Sub": ["${x}-${AWS::Region}", {"x": "1"}]}}},
    },
    "Outputs": {"O": {"Value": {"Fn::GetAtt": ["Q", "Value"]}, "Export": {"Name": {"Fn::Base64": "a"}}}, "S": {"Value": {"Fn::If": ["C", {"Fn::Cidr": ["10.0.0.0/16", 2, 8]}, {"Ref": "AWS::NoValue"}]}}},
}  # fmt: skip
_OPENAPI = {
    "openapi": "3.0.1", "swagger": "2.0", "info": {"title": "a", "version": 1}, "x-amazon-apigateway-policy": _POLICY,
    "x-amazon-apigateway-request-validators": {"all": {"validateRequestBody": True}},
    "x-amazon-apigateway-gateway-responses": {"DEFAULT_4XX": {"statusCode": 418, "responseTemplates": {"application/json": "x"}}},
    "x-amazon-apigateway-cors": {"allowOrigins": ["*"]}, "x-amazon-apigateway-minimum-compression-size": 10,
    "components": {"schemas": {"M": {"type": "object", "pattern": "(a+)+"}}, "securitySchemes": {"k": {"type": "apiKey", "name": "x-api-key", "in": "header"}}},
    "security": [{"k": []}],
    "paths": {
        "/a/{b}": {
            "parameters": [{"in": "query", "name": "q", "required": True}],
            "get": {
                "operationId": "o", "security": [{"k": ["s"]}], "parameters": [{"$ref": "#/components/schemas/M"}, {"in": "header", "name": "h"}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/M"}}}},
                "responses": {"200": {"description": "a", "headers": {"h": {}}}},
                "x-amazon-apigateway-request-validator": "all",
                "x-amazon-apigateway-integration": {
                    "type": "aws_proxy", "httpMethod": "POST", "uri": _INVOKE, "payloadFormatVersion": "1.0",
                    "requestTemplates": {"application/json": "$input.body"}, "requestParameters": {"integration.request.header.h": "method.request.header.h"},
                    "responses": {"default": {"statusCode": "200", "responseTemplates": {"application/json": "x"}, "responseParameters": {"method.response.header.h": "'x'"}}},
                },
            },
            "x-amazon-apigateway-any-method": {"x-amazon-apigateway-integration": {"type": "mock"}},
        }
    },
}  # fmt: skip
_SCHEMA = {"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "required": ["a"], "properties": {"a": {"type": "string", "pattern": "^(a|b)$", "minLength": 1}, "b": {"type": "array", "items": {"$ref": "#/definitions/M"}}}, "definitions": {"M": {"enum": [1]}}}  # fmt: skip
_LIFECYCLE = {"rules": [{"rulePriority": 1, "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}, "action": {"type": "expire"}}]}  # fmt: skip
_MANIFEST = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"mediaType": "a", "digest": "sha256:" + "0" * 64, "size": 1}, "layers": [{"mediaType": "a", "digest": "sha256:" + "0" * 64, "size": 1}]}  # fmt: skip
_MAPPINGS = (
    "$input.body", "$input.json('$.a')", "#set($a = 'x')#foreach($i in [1..9])$a#end", "$util.escapeJavaScript($input.path('$'))",
    "#if($a)b#end", "#foreach($i in [1..99999999])x#end", "#macro(a)#a()#end#a()", "$context.identity.sourceIp", "#set($x=", "$input.path('$[')",
)  # fmt: skip
_EXPRESSIONS = ("m1", "m1+m2", "SUM([m1,m2])", "METRICS()", "SEARCH('a','Sum',60)", "m1/0", "1e400", "(" * 200, "ALARM(fuzz) OR NOT OK(fuzz)", "ALARM(", "IF(m1>1,m1,0)", "m1 AND", "RATE(m1)**999999")  # fmt: skip
_PATTERNS = (
    "a",
    "(a+)+$",
    "[",
    "(?=a)",
    r"(a)\1",
    "a{1,100000}",
    "\\p{L}+",
    "(?P<a>x)(?P<a>y)",
    "^arn:aws:.*",
    "*",
    "(" * 500,
)
_SCHEDULES = ("rate(5 minutes)", "rate(0 minutes)", "cron(* *)", "cron(0 0 ? * MON *)", "cron(99 99 99 99 99 99)", "at(2030-01-01T00:00:00)", "rate(99999999999999999999 days)", "cron(² * * * ? *)", "cron(0/0 * * * ? *)", "at(0001-01-01T00:00:00)")  # fmt: skip
_PLACES: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("lifecyclepolicytext", (_LIFECYCLE,)), ("manifest", (_MANIFEST,)), ("policydocument", (_POLICY,)), ("policytext", (_POLICY,)),
    ("policy", (_POLICY,)), ("templatebody", (_TEMPLATE,)), ("body", (_OPENAPI, _SCHEMA)), ("schema", (_SCHEMA,)), ("alarmrule", _EXPRESSIONS),
    ("expression", (*_EXPRESSIONS, *_SCHEDULES)), ("schedule", _SCHEDULES), ("pattern", _PATTERNS), ("regex", _PATTERNS), ("templates", _MAPPINGS),
    ("template", (_TEMPLATE, *_MAPPINGS)), ("uri", (_INVOKE, "http://127.0.0.1:1/", "https://a.invalid/{x}", _FUNCTION)),
    ("role", (_ROLE,)), ("allowedpattern", _PATTERNS), ("target", (_FUNCTION, "integrations/x")),
    ("path", ("/", "/name", "/a/b", "/description", "/quota/limit", "/throttle/rateLimit", "/minimumCompressionSize", "/binaryMediaTypes/a~1b", "/*/*/throttling/burstLimit", "/apiStages", "/variables/a", "/endpointConfiguration/types/0", "/endpointConfiguration/types/EDGE/x", "/name/x", "/quota")),
    ("starttime", (1e9, 1.7e9)),
)  # fmt: skip


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("a.py", "def handler(event, context):\n    return event\n")
    return out.getvalue()


ZIP = _zip()


def text(name: str, pick: random.Random) -> Any:
    """A document for a member that holds one; None for other members."""
    low = name.lower()
    for end, choices in _PLACES:
        if low.endswith(end) or (len(end) > 6 and end in low):
            chosen = pick.choice(choices)
            return json.dumps(_varied(chosen, pick)) if isinstance(chosen, dict) else chosen
    return None


def blob(name: str, pick: random.Random) -> bytes:
    """Bytes for a member."""
    if "zip" in name.lower():
        return pick.choice((ZIP, ZIP[:-9], b"", b"PK\3\4"))
    if name.lower() == "body":
        return json.dumps(_varied(_OPENAPI, pick)).encode()
    return pick.choice((b"", b"a", b"\0\xff", b"{}", b"[" * 5000, b'{"a":1}', b"x" * 70_000))


def _varied(document: Any, pick: random.Random) -> Any:
    """The document as it is, without some of its parts, or with something odd in it."""
    from .values import places, spoil

    found = copy.deepcopy(document)
    chance = pick.random()
    if chance < 0.3:
        return found
    if chance < 0.5:
        for inner, _ in list(places(found, lambda new: None)):
            if isinstance(inner, dict) and inner and pick.random() < 0.15:
                inner.pop(pick.choice(list(inner)))
        return found
    return spoil(found, pick, pick.choice((1, 1, 2)))
