"""The functions of templates: what refers to what, and what values come to. Pure.

Source: AWS, "Intrinsic function reference".
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ...provider.errors import ValidationError

Json = dict[str, Any]
_VARIABLE = re.compile(r"\$\{(!?)([^}]+)\}")
_DYNAMIC = re.compile(r"\{\{resolve:(?P<service>[a-z-]+):(?P<reference>[^}]+)\}\}")
_NO_VALUE = object()
_BUILT = ("Fn::Sub", "Fn::Join")  # texts in which a reference may have been put together


@dataclass(slots=True)
class Scope:
    """What a template's names stand for just now."""

    template: Json
    values: Json  # parameters and pseudo parameters
    resources: dict[str, str] = field(default_factory=dict)  # what Ref gives
    attribute: Callable[[str, str], Any] = lambda name, attribute: None
    exports: Callable[[str], str] = lambda name: ""
    dynamic: Callable[[str, str], str] = lambda service, reference: ""
    _conditions: dict[str, bool] = field(default_factory=dict)

    def condition(self, name: str) -> bool:
        """Whether a condition holds."""
        if name not in self._conditions:
            declared = self.template.get("Conditions") or {}
            if name not in declared:
                raise ValidationError(f"Template error: unresolved condition dependency {name} in Fn::If")
            self._conditions[name] = False  # a condition that needs itself does not hold
            self._conditions[name] = bool(self.resolve(declared[name]))
        return self._conditions[name]

    def resolve(self, value: Any) -> Any:
        """A value with its functions carried out."""
        found = self._resolve(value)
        return None if found is _NO_VALUE else found

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, str):
            return (
                _DYNAMIC.sub(lambda m: self.dynamic(m["service"], m["reference"]), value)
                if "{{resolve:" in value
                else value
            )
        if isinstance(value, list):
            return [v for v in (self._resolve(item) for item in value) if v is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._ref(argument)
            if name == "Condition" and isinstance(argument, str):
                return self.condition(argument)
            if isinstance(name, str) and name.startswith("Fn::"):
                made = self._function(name[4:], argument)
                return self._resolve(made) if name in _BUILT and "{{resolve:" in made else made
        return {k: v for k, v in ((k, self._resolve(item)) for k, item in value.items()) if v is not _NO_VALUE}

    def _ref(self, name: Any) -> Any:
        if not isinstance(name, str):
            raise ValidationError("Template error: every Ref object must have a single String value.")
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in self.values:
            value = self.values[name]
            kind = (self.template.get("Parameters") or {}).get(name, {}).get("Type", "")
            return [v.strip() for v in value.split(",")] if "List" in kind and isinstance(value, str) else value
        if name in self.resources:
            return self.resources[name]
        raise ValidationError(
            f"Template format error: Unresolved resource dependencies [{name}] in the Resources block of the template"
        )

    def _function(self, name: str, argument: Any) -> Any:
        _check_argument(name, argument, _WRITTEN)
        if name == "If":
            condition, yes, no = argument
            return self._resolve(yes if self.condition(condition) else no)
        if name == "GetAtt":
            parts = argument.split(".", 1) if isinstance(argument, str) else argument
            return self.attribute(parts[0], str(self._resolve(parts[1])))
        if name == "Sub":
            return self._sub(argument)
        given = self._resolve(argument)
        _check_argument(name, given, _RESOLVED)
        match name:
            case "Join":
                return _joined(str(given[0]), [_text(v) for v in given[1]])
            case "Select":
                try:
                    return given[1][int(given[0])]
                except (IndexError, ValueError, TypeError):
                    raise ValidationError(
                        f"Template error: Fn::Select cannot select nonexistent value at index {given[0]}"
                    ) from None
            case "Split":
                return str(given[1]).split(given[0])
            case "FindInMap":
                mapping, first, second = given[:3]
                default = given[3].get("DefaultValue") if len(given) > 3 and isinstance(given[3], dict) else None
                try:
                    return self._resolve((self.template.get("Mappings") or {})[mapping][first][second])
                except (KeyError, TypeError):
                    if default is not None:
                        return default
                    raise ValidationError(
                        f"Template error: Unable to get mapping for {mapping}::{first}::{second}"
                    ) from None
            case "Base64":
                return base64.b64encode(_text(given).encode()).decode()
            case "Equals":
                return _text(given[0]) == _text(given[1])
            case "And":
                return all(given)
            case "Or":
                return any(given)
            case "Not":
                return not given[0]
            case "ImportValue":
                return self.exports(str(given))
            case "Length":
                return len(given)
            case "ToJsonString":
                return json.dumps(given, separators=(",", ":"))
            case "Cidr":
                return _cidr(given)
            case "Contains":
                return _text(given[1]) in map(_text, given[0])
            case "EachMemberIn":
                return {_text(v) for v in given[0]} <= {_text(v) for v in given[1]}
            case "GetAZs":
                region = given or self.values["AWS::Region"]
                return [f"{region}{letter}" for letter in "abc"]
        raise ValidationError(f"Template error: Clary does not serve the function Fn::{name} yet.")

    def _sub(self, argument: Any) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else (argument[0], self._resolve(argument[1]))
        size = len(text)

        def put(match: re.Match[str]) -> str:
            nonlocal size
            found = value(match)
            size += len(found)
            _check_size(size)
            return found

        def value(match: re.Match[str]) -> str:
            literal, name = match[1], match[2].strip()
            if literal:
                return f"${{{name}}}"
            if name in own:
                return _text(own[name])
            if "." in name and name not in self.values:
                logical, _, attribute = name.partition(".")
                return _text(self.attribute(logical, attribute))
            return _text(self._ref(name))

        found = _VARIABLE.sub(put, text)
        return str(self._resolve(found))


def check_rules(template: Json, scope: Scope) -> None:
    """Refuse parameters that a template's rules do not allow."""
    for name, rule in (template.get("Rules") or {}).items():
        if "RuleCondition" in rule and not scope.resolve(rule["RuleCondition"]):
            continue
        for assertion in rule.get("Assertions") or ():
            if not scope.resolve(assertion["Assert"]):
                told = assertion.get("AssertDescription", "an assertion does not hold")
                raise ValidationError(f"Template validation error: Rule {name} failed: {told}")


MAX_TEXT = 1 << 20
"""Characters that a function of a template may make: each level of Fn::Sub can double its text."""


def _check_size(size: int) -> None:
    if size > MAX_TEXT:
        raise ValidationError(f"Template error: a function makes a text of more than {MAX_TEXT} characters.")


def _joined(between: str, parts: list[str]) -> str:
    _check_size(sum(map(len, parts)) + len(between) * len(parts))
    return between.join(parts)


def _is_list(value: Any, *sizes: int) -> bool:
    return isinstance(value, list) and (not sizes or len(value) in sizes)


def _is_plain(value: Any) -> bool:
    return not isinstance(value, (dict, list))


Rules = dict[str, tuple[Callable[[Any], bool], str]]

_WRITTEN: Rules = {
    "If": (
        lambda a: _is_list(a, 3) and isinstance(a[0], str),
        "Fn::If requires a list argument with three elements: the name of a condition and two values",
    ),
    "GetAtt": (
        lambda a: "." in a if isinstance(a, str) else _is_list(a, 2) and isinstance(a[0], str),
        "every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute",
    ),
    "Sub": (
        lambda a: isinstance(a, str) or (_is_list(a, 2) and isinstance(a[0], str) and isinstance(a[1], dict)),
        "One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as first argument, and "
        "an optional second argument to specify a mapping of values to replace in the string",
    ),
}
"""What the arguments of functions must be before they are resolved."""
_RESOLVED: Rules = {
    "Join": (
        lambda a: _is_list(a, 2) and isinstance(a[0], str) and _is_list(a[1]),
        "every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be joined or a "
        "function that returns a list of strings (such as Fn::GetAZs) to be joined.",
    ),
    "Select": (
        lambda a: _is_list(a, 2) and _is_plain(a[0]) and _is_list(a[1]),
        "Fn::Select requires a list argument with two elements: an integer index and a list",
    ),
    "Split": (
        lambda a: _is_list(a, 2) and isinstance(a[0], str) and bool(a[0]) and _is_plain(a[1]),
        "every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be split or a function "
        "that returns a string to be split.",
    ),
    "FindInMap": (
        lambda a: _is_list(a, 3, 4) and all(map(_is_plain, a[:3])),
        "every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return value",
    ),
    "Base64": (_is_plain, "every Fn::Base64 object must have a String-typed value."),
    "Equals": (lambda a: _is_list(a, 2), "every Fn::Equals object requires a list of 2 string parameters."),
    "And": (_is_list, "every Fn::And object requires a list of at least 2 and at most 10 boolean parameters."),
    "Or": (_is_list, "every Fn::Or object requires a list of at least 2 and at most 10 boolean parameters."),
    "Not": (lambda a: _is_list(a, 1), "every Fn::Not object requires a list of one boolean parameter."),
    "ImportValue": (_is_plain, "the attribute in Fn::ImportValue must be a string or a function that returns a string."),
    "Length": (_is_list, "Fn::Length requires a list, or a function that returns one."),
    "Cidr": (lambda a: _is_list(a, 2, 3), "every Fn::Cidr object requires an IP block, a count and, at will, a number of bits."),
    "Contains": (lambda a: _is_list(a, 2) and _is_list(a[0]), "every Fn::Contains object requires a list of strings and a string."),
    "EachMemberIn": (
        lambda a: _is_list(a, 2) and all(map(_is_list, a)), "every Fn::EachMemberIn object requires two lists of strings."
    ),
    "GetAZs": (_is_plain, "every Fn::GetAZs object must have a String-typed value."),
}  # fmt: skip
"""What they must come to."""


def _check_argument(name: str, argument: Any, rules: Rules) -> None:
    if (rule := rules.get(name)) is not None and not rule[0](argument):
        raise ValidationError(f"Template error: {rule[1]}")


def _cidr(given: list[Any]) -> list[str]:
    """The first subnets of a block: how many, and how many bits each has for hosts."""
    import ipaddress

    try:
        block, count, bits = ipaddress.ip_network(str(given[0])), int(given[1]), int(given[2]) if len(given) > 2 else 8
        length = block.max_prefixlen - bits
        if not 1 <= count <= 256 or length < block.prefixlen or 2 ** (length - block.prefixlen) < count:
            raise ValueError("the block has no room for them")
        return [str(n) for n, _ in zip(block.subnets(new_prefix=length), range(count), strict=False)]
    except (ValueError, IndexError, TypeError) as error:
        raise ValidationError(f"Template error: Fn::Cidr cannot divide {given}: {error}") from None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else str(value)


def references(value: Any) -> Iterator[str]:
    """The names that a value refers to, by Ref, GetAtt or Sub."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for name, argument in value.items():
            if name == "Ref" and isinstance(argument, str):
                yield argument
            elif name == "Fn::GetAtt":
                _check_argument("GetAtt", argument, _WRITTEN)
                yield argument.split(".", 1)[0] if isinstance(argument, str) else str(argument[0])
            elif name == "Fn::Sub":
                _check_argument("Sub", argument, _WRITTEN)
                text, own = (argument, {}) if isinstance(argument, str) else (argument[0], argument[1])
                yield from (
                    m[2].strip().partition(".")[0] if "::" not in m[2] else m[2].strip()
                    for m in _VARIABLE.finditer(text)
                    if not m[1] and m[2].strip() not in own
                )
                yield from references(list(own.values()))
            else:
                yield from references(argument)


def order(template: Json, scope: Scope) -> list[str]:
    """The resources that a template makes, each after those that it needs; ValidationError for loops and unknown names."""
    present = {
        name: resource
        for name, resource in template["Resources"].items()
        if "Condition" not in resource or scope.condition(resource["Condition"])
    }
    known = {*template["Resources"], *scope.values, "AWS::NoValue"}
    needs: dict[str, set[str]] = {}
    for name, resource in present.items():
        wanted = set(references(resource.get("Properties", {})))
        depends = resource.get("DependsOn") or []
        wanted |= {depends} if isinstance(depends, str) else set(depends)
        if unknown := sorted(wanted - known):
            raise ValidationError(
                f"Template format error: Unresolved resource dependencies [{', '.join(unknown)}] in the Resources block of "
                "the template"
            )
        needs[name] = {w for w in wanted if w in present}
    for output in (template.get("Outputs") or {}).values():
        if unknown := sorted(set(references(output)) - known):
            raise ValidationError(
                f"Unresolved resource dependencies [{', '.join(unknown)}] in the Outputs block of the template"
            )
    found: list[str] = []
    while needs:
        free = [name for name, wanted in needs.items() if not wanted - set(found)]
        if not free:
            raise ValidationError(f"Circular dependency between resources: [{', '.join(sorted(needs))}]")
        found += free
        for name in free:
            del needs[name]
    return found
