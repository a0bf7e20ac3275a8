"""Templates that are written in more than CloudFormation's own language: SAM, and ``Fn::ForEach``.

Source: AWS, "Transform reference"; SAM is translated by AWS's own library.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from ...faults import whole_import
from ...provider.errors import ValidationError
from ..iam.managed import POLICIES

Json = dict[str, Any]
SERVERLESS, LANGUAGE = "AWS::Serverless-2016-10-31", "AWS::LanguageExtensions"
_LOOP = "Fn::ForEach::"
_MOST = 10_000


def names(document: Json) -> list[str]:
    """The transforms that a template wants."""
    wanted = document.get("Transform") or []
    return [str(w) for w in (wanted if isinstance(wanted, list) else [wanted])]


def transformed(document: Json, parameters: Json, account: str, region: str) -> Json:
    """The template in CloudFormation's own language; ValidationError when it cannot be."""
    wanted = names(document)
    if unknown := [w for w in wanted if w not in (SERVERLESS, LANGUAGE)]:
        raise ValidationError(f"No transform named {account}::{unknown[0].rpartition('::')[2]} found.")
    found = {k: v for k, v in deepcopy(document).items() if k != "Transform"}
    if LANGUAGE in wanted:
        found = _Loops(found, parameters).written_out()
    if SERVERLESS in wanted:
        found = _serverless({**found, "Transform": SERVERLESS}, parameters, region)
    found.pop("Transform", None)
    return found


def _serverless(document: Json, parameters: Json, region: str) -> Json:
    with whole_import():
        import boto3
        from samtranslator.model.exceptions import InvalidDocumentException
        from samtranslator.parser.parser import Parser
        from samtranslator.translator.translator import Translator

    policies = {name.rpartition("/")[2]: f"arn:aws:iam::aws:policy/{name}" for name in POLICIES}
    session = boto3.Session(region_name=region)
    values = {**parameters, "AWS::Region": region, "AWS::Partition": "aws"}
    try:
        found: Json = Translator(policies, Parser(), boto_session=session).translate(document, parameter_values=values)
    except InvalidDocumentException as error:
        causes = " ".join(str(cause.message) for cause in error.causes)
        raise ValidationError(f"Transform {SERVERLESS} failed with: {error.message} {causes}") from None
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]  # plain types, without the library's own


class _Loops:
    """Writes ``Fn::ForEach`` out."""

    def __init__(self, document: Json, parameters: Json):
        self._document = document
        self._parameters = parameters
        self._made = 0

    def written_out(self) -> Json:
        """The template without loops."""
        parts = ("Conditions", "Resources", "Outputs")
        return {k: self._written(v) if k in parts else v for k, v in self._document.items()}

    def _written(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._written(v) for v in value]
        if not isinstance(value, dict):
            return value
        found: Json = {}
        for key, inner in value.items():
            if not str(key).startswith(_LOOP):
                found[key] = self._written(inner)
                continue
            try:
                variable, collection, body = inner
                items = self._collection(collection)
                fragments = [self._put(body, variable, str(item)) for item in items]
            except (TypeError, ValueError, AttributeError):
                raise ValidationError(
                    f"Template error: {key} must be [identifier, collection, {{key: value}}]"
                ) from None
            for fragment in fragments:
                self._made += 1
                if self._made > _MOST:
                    raise ValidationError(f"Template error: Fn::ForEach makes more than {_MOST} fragments")
                found |= self._written(fragment)
        return found

    def _collection(self, value: Any) -> list[Any]:
        if isinstance(value, dict) and set(value) == {"Ref"}:
            given = self._parameters.get(value["Ref"])
            if given is None:
                raise ValidationError(f"Template error: Fn::ForEach cannot resolve the collection {value['Ref']}")
            return [v.strip() for v in given.split(",")] if isinstance(given, str) else list(given)
        return list(value)

    def _put(self, value: Any, variable: str, item: str) -> Any:
        """A fragment with the loop's variable replaced; ``&{…}`` leaves out what names must not have."""
        if isinstance(value, str):
            plain = "".join(c for c in item if c.isalnum())
            return value.replace(f"${{{variable}}}", item).replace(f"&{{{variable}}}", plain)
        if isinstance(value, list):
            return [self._put(v, variable, item) for v in value]
        if isinstance(value, dict):
            if value == {"Ref": variable}:
                return item
            return {self._put(k, variable, item): self._put(v, variable, item) for k, v in value.items()}
        return value
