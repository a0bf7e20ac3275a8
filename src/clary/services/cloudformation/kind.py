"""What a resource type is to stacks: how it is made, changed and removed, and what its handlers work with."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Made:
    """A resource that is there: its physical id (what ``Ref`` gives), and what ``Fn::GetAtt`` gives."""

    id: str
    attributes: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource type."""

    create: Callable[[Work, Json], Made]
    delete: Callable[[Work, str, Json], None]
    update: Callable[[Work, str, Json, Json], Made] | None = None  # None: a change makes a new one
    fixed: tuple[str, ...] = ()  # properties whose change makes a new one
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


def typed(value: Any, numbers: tuple[str, ...] = (), flags: tuple[str, ...] = ()) -> Any:
    """Scalars that templates give as texts, in the types that the API takes."""
    if isinstance(value, dict):
        found = {k: typed(v, numbers, flags) for k, v in value.items()}
        for name in numbers:
            if isinstance(found.get(name), str):
                found[name] = float(found[name]) if "." in found[name] else int(found[name])
        for name in flags:
            if isinstance(found.get(name), str):
                found[name] = found[name].lower() == "true"
        return found
    return [typed(v, numbers, flags) for v in value] if isinstance(value, list) else value
