"""What a resource type is to stacks: how it is made, changed and removed, and what its handlers work with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

Json = dict[str, Any]


class Failed(Exception):
    """A resource that could not be made; the text is its status reason."""


class Later(Exception):
    """A resource that is still being removed: ask again, with these attributes. No thread waits for it."""

    def __init__(self, attributes: Json):
        super().__init__("it is still being removed")
        self.attributes = attributes


@dataclass(frozen=True, slots=True)
class Work:
    """What a resource's handlers work with."""

    client: Callable[[str], Any]  # a boto3 client of the stack's identity
    account: str
    region: str
    stack: str
    logical: str
    name: str  # the physical name that it has or should have
    type: str = ""  # as the template says it
    before: Json = field(default_factory=dict)  # the attributes that it has
    stack_id: str = ""
    token: str = ""  # the same when a step is done again after a crash; empty for removals


@dataclass(frozen=True, slots=True)
class Made:
    """A resource that is there: its physical id (what ``Ref`` gives), and what ``Fn::GetAtt`` gives."""

    id: str
    attributes: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource type."""

    create: Callable[[Work, Json], Made]  # called again after a crash: calls that acted give the answers they gave
    delete: Callable[[Work, str, Json], None]
    update: Callable[[Work, str, Json, Json], Made] | None = None  # of properties before and now; None: a new one
    fixed: tuple[str, ...] = ()  # properties whose change makes a new one, besides those that the schema names
    ignores: tuple[str, ...] = ()  # properties that are taken and have no effect; the resource's event says so
    named: str = ""  # the property that names it; without one a name is made
    limit: int = 255  # characters of such a name
    lower: bool = False
    ready: Callable[[Work, str], Made | None] | None = None  # as it is once it has settled; Failed when it has failed


def gone(call: Callable[..., Any], **params: Any) -> None:
    """Remove something; what is not there any more is gone as well."""
    try:
        call(**params)
    except ClientError as error:
        code, text = error.response["Error"]["Code"], error.response["Error"]["Message"]
        if not (
            "NotFound" in code
            or "NoSuch" in code
            or "Could not find" in text
            or "does not exist" in text
            or code == "404"
        ):
            raise


def only(props: Json, *names: str) -> Json:
    """Some of the properties, as far as they are given."""
    return {n: props[n] for n in names if n in props}


def tags_of(props: Json) -> dict[str, str]:
    """A resource's tags, which some types list and others map."""
    tags = props.get("Tags") or {}
    return tags if isinstance(tags, dict) else {t["Key"]: t["Value"] for t in tags}


def retag(old: Json, props: Json, put: Callable[[dict[str, str]], Any], remove: Callable[[list[str]], Any]) -> None:
    """Bring a resource's tags to what they should be."""
    before, wanted = tags_of(old), tags_of(props)
    if unwanted := [key for key in before if key not in wanted]:
        remove(unwanted)
    if added := {key: value for key, value in wanted.items() if before.get(key) != value}:
        put(added)


def tag_list(tags: dict[str, str]) -> list[Json]:
    """Tags as most operations take them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def text_of(document: Any) -> str:
    """A policy or another document, which templates give as an object or as text."""
    return document if isinstance(document, str) else json.dumps(document)


def texts(given: Json) -> dict[str, str]:
    """A map whose values templates may write as any scalar."""
    return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in given.items()}
