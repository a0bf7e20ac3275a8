"""Mapping templates and parameters of REST APIs: requests to what integrations get, and their answers back. Pure.

Templates are Velocity's (the library is airspeed); what they may ask is AWS's: "API Gateway mapping template and access
logging variable reference".
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote

from ....wire import bounded
from ...confined import Crew, Failed
from ...jsonpath import PathError, compile_path

Json = dict[str, Any]
MAX_TEMPLATE = 300 << 10
MAX_LOOP = 1000
_RANGE = re.compile(r"\[\s*([^\[\]]*?)\s*\.\.\s*([^\[\]]*?)\s*\]")
_MEMBER = re.compile(r"\.\s*([A-Za-z_]\w*)")
_LEAKS = frozenset(("format", "format_map"))  # a text from a request would choose what they show
_DIRECTIVE = re.compile(r"#\{?\s*(?:evaluate|parse|include)\b")
_STAGE = re.compile(r"\$\{stageVariables\.([A-Za-z0-9_]+)\}")


_CREW = Crew("clary.services.apis.rest.engine")


class TemplateFailed(Exception):
    """A template that cannot be read or filled in; the text is for the log."""


class Flag(int):
    """A boolean that is written as JSON has it."""

    def __str__(self) -> str:
        return "true" if self else "false"


class Items(list[Any]):
    """A list; as on AWS a loop goes over its first thousand."""

    def __iter__(self) -> Iterator[Any]:
        return islice(super().__iter__(), MAX_LOOP)

    def size(self) -> int:
        """How many there are."""
        return len(self)

    def get(self, index: int) -> Any:
        """One of them."""
        return self[index]

    def isEmpty(self) -> Flag:
        """Whether there is none."""
        return Flag(not len(self))

    def contains(self, value: Any) -> Flag:
        """Whether a value is among them."""
        return Flag(value in list.__iter__(self))

    def add(self, value: Any) -> Flag:
        """Put a value at the end."""
        self.append(value)
        return Flag(True)


class Map(dict[str, Any]):
    """An object with the methods that templates know from Java."""

    def get(self, key: str, default: Any = None) -> Any:
        """A member's value."""
        return super().get(key, default)

    def put(self, key: str, value: Any) -> Any:
        """Set a member; what it was."""
        before = super().get(key)
        self[key] = value
        return before

    def size(self) -> int:
        """How many members there are."""
        return len(self)

    def isEmpty(self) -> Flag:  # Java's name
        """Whether there is none."""
        return Flag(not self)

    def keySet(self) -> list[str]:
        """The members' names."""
        return list(self)

    def containsKey(self, key: str) -> Flag:
        """Whether there is such a member."""
        return Flag(key in self)

    def entrySet(self) -> list[Json]:
        """Names with values."""
        return [{"key": k, "value": v} for k, v in self.items()]

    def __str__(self) -> str:
        return json.dumps(_plain(self))


def _plain(value: Any) -> Any:
    if isinstance(value, Flag):
        return bool(value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in list.__iter__(value)] if isinstance(value, list) else value


def _wrapped(value: Any) -> Any:
    if isinstance(value, bool):
        return Flag(value)
    if isinstance(value, dict):
        return Map({k: _wrapped(v) for k, v in value.items()})
    return Items(_wrapped(v) for v in value) if isinstance(value, list) else value


@dataclass(slots=True)
class Source:
    """What templates and parameters read: a request, or the answer of an integration beside it."""

    body: str
    path: dict[str, str]
    query: dict[str, str]
    headers: dict[str, str]
    context: Json
    variables: dict[str, str]
    many_query: dict[str, list[str]] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        """A header, whatever case it is spelled in."""
        wanted = name.lower()
        return next((v for k, v in self.headers.items() if k.lower() == wanted), None)


class _Input:
    """``$input``."""

    def __init__(self, source: Source):
        self._source = source
        self.body = source.body

    def _value(self) -> Any:
        try:
            return bounded.loads(self._source.body or "{}")
        except ValueError:
            return {}

    def path(self, path: str) -> Any:
        """The value at a JSON path, as an object."""
        try:
            return _wrapped(compile_path(path)(self._value()))
        except PathError:
            return None

    def json(self, path: str) -> str:
        """The value at a JSON path, as JSON text."""
        try:
            return json.dumps(compile_path(path)(self._value()))
        except PathError:
            return '""'

    def params(self, name: str | None = None) -> Any:
        """A parameter of the path, the query or the headers, or all of them."""
        source = self._source
        if name is None:
            return Map(path=Map(source.path), querystring=Map(source.query), header=Map(source.headers))
        return source.path.get(name) or source.query.get(name) or source.header(name) or ""


class _Util:
    """``$util``."""

    def escapeJavaScript(self, text: Any) -> str:
        """A text as it may stand in a string."""
        return json.dumps(str(text))[1:-1].replace("'", "\\'")

    def parseJson(self, text: Any) -> Any:
        """A JSON text as an object."""
        try:
            return _wrapped(bounded.loads(str(text)))
        except ValueError:
            return None

    def urlEncode(self, text: Any) -> str:
        """Percent-encoded."""
        return quote(str(text), safe="")

    def urlDecode(self, text: Any) -> str:
        """No longer percent-encoded."""
        return unquote(str(text))

    def base64Encode(self, data: Any) -> str:
        """In base64."""
        return base64.b64encode(str(data).encode()).decode()

    def base64Decode(self, text: Any) -> str:
        """No longer in base64."""
        return base64.b64decode(str(text)).decode("utf-8", "replace")


@lru_cache(512)
def _checked(template: str) -> None:
    """Refuse what leads out of a template: the library would reach every attribute of a Python object.

    Names are written in the template, never computed, so it is enough to look at them.
    """
    if len(template) > MAX_TEMPLATE:
        raise TemplateFailed(f"a mapping template may have at most {MAX_TEMPLATE} characters")
    if found := _DIRECTIVE.search(template):
        raise TemplateFailed(f"the directive {found[0]} is not available in mapping templates")
    for low, high in _RANGE.findall(template):
        if not (bounded.digits(low) and bounded.digits(high) and abs(int(high) - int(low)) < MAX_LOOP):
            raise TemplateFailed(f"a range in a mapping template has fixed ends, at most {MAX_LOOP} apart")
    for name in _MEMBER.findall(template):
        if name.startswith("_") or name in _LEAKS:
            raise TemplateFailed(f"the member {name} is not available in mapping templates")


def render(template: str, source: Source, overrides: Json) -> str:
    """A template filled in; what it overrides (``$context.requestOverride``, ``responseOverride``) is put in ``overrides``.

    Templates are programs: they run in a process of their own, with bounds on time, memory and output.
    """
    _checked(template)
    try:
        found, changed = _CREW.call("render", template, asdict(source))
    except Failed as error:
        raise TemplateFailed(str(error)) from None
    overrides |= changed
    return str(found)


def fits(schema: str, body: bytes) -> bool:
    """Return whether a body is JSON that a model's schema allows; a check that costs too much says no."""
    try:
        return bool(_CREW.call("fits", schema, body.decode()))
    except (Failed, UnicodeDecodeError):
        return False


def merged(template: str, source: Source) -> tuple[str, Json]:
    """Fill a template in; its text and its overrides. Runs in a process of the crew."""
    context = _wrapped(source.context)
    context["requestOverride"] = {"header": {}, "path": {}, "querystring": {}}
    context["responseOverride"] = {"header": {}, "status": None}
    names = {
        "input": _Input(source), "util": _Util(), "context": context, "stageVariables": Map(source.variables),
    }  # fmt: skip
    import airspeed  # only processes that fill templates in wait for it

    found: str = airspeed.Template(template).merge(names)
    return found, _plain({k: context[k] for k in ("requestOverride", "responseOverride")})


def value(expression: str, source: Source, answer: Source | None = None) -> str | None:
    """What a parameter's mapping stands for; None when there is nothing of the kind."""
    if expression.startswith("'") and expression.endswith("'"):
        return expression[1:-1]
    first, _, rest = expression.partition(".")
    if first == "stageVariables":
        return source.variables.get(rest)
    if first == "context":
        found: Any = source.context
        for part in rest.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return None if found is None else str(found)
    which = {"method": source, "integration": answer or source}.get(first)
    if which is None:
        return None
    _, _, rest = rest.partition(".")  # request or response
    place, _, name = rest.partition(".")
    match place:
        case "header":
            return which.header(name)
        case "querystring":
            return which.query.get(name)
        case "multivaluequerystring":
            return ",".join(which.many_query.get(name, [])) or None
        case "path":
            return which.path.get(name)
        case "body":
            try:
                found = compile_path(f"$.{name}" if name else "$")(bounded.loads(which.body or "{}"))
            except (PathError, ValueError):
                return which.body if not name else None
            return found if isinstance(found, str) else json.dumps(found)
    return None


def filled(text: str, variables: dict[str, str]) -> str:
    """A text with its stage variables put in."""
    return _STAGE.sub(lambda m: variables.get(m[1], ""), text)
