"""Templates: from YAML or JSON to documents whose functions are all in their long form. Pure."""

from __future__ import annotations

from functools import cache
from typing import Any

from ...faults import whole_import
from ...patterns import PatternError, TooSlow, matches
from ...provider.errors import ValidationError
from ...wire import bounded
from ..outline import FLAG, MAP, SCALAR, TEXT, TEXTS, each, every, having, maybe, problem_finder

Json = dict[str, Any]
MAX_BODY = 51_200
_SHORT = (
    "And", "Base64", "Cidr", "Equals", "FindInMap", "GetAtt", "GetAZs", "If", "ImportValue", "Join", "Not", "Or", "Select",
    "Split", "Sub", "Transform",
)  # fmt: skip
_SECTIONS = frozenset(
    [
        "AWSTemplateFormatVersion",
        "Description",
        "Metadata",
        "Parameters",
        "Mappings",
        "Conditions",
        "Transform",
        "Resources",
        "Outputs",
        "Rules",
        "Globals",  # of SAM
    ]
)


_MAX_VALUES = 100_000
_LOOPS_ASIDE = "^(?!Fn::)"


def _each(of: Json) -> Json:
    """As ``each``, for sections that loops and macros may stand in."""
    return {"type": ["object", "null"], "patternProperties": {_LOOPS_ASIDE: of}}


_problem = problem_finder(
    having(
        Description=TEXT,
        Metadata=MAP,
        Transform={"type": ["string", "array", "object", "null"]},
        Parameters=each(
            having(
                Type=TEXT, AllowedValues=every(SCALAR), AllowedPattern=TEXT, ConstraintDescription=TEXT, Description=TEXT,
                NoEcho=FLAG, Default={}, MinLength=SCALAR, MaxLength=SCALAR, MinValue=SCALAR, MaxValue=SCALAR,
            )
        ),
        Mappings=_each(_each(_each({}))),
        Conditions=_each(MAP),
        Rules=each(having(RuleCondition=MAP, Assertions=every(having(("Assert",), Assert=MAP, AssertDescription=TEXT)))),
        Resources=_each(
            having(
                Type={"type": "string"}, Properties=MAP, Metadata=MAP, Condition=TEXT, DeletionPolicy=TEXT,
                UpdateReplacePolicy=TEXT, DependsOn={"anyOf": [TEXT, TEXTS]},
            )
        ),
        Outputs=_each(having(("Value",), Description=TEXT, Condition=TEXT, Export=maybe(having(("Name",))))),
        Globals=MAP,
    )
)  # fmt: skip


@cache
def _loader() -> Any:
    """YAML with CloudFormation's short forms; dates stay texts."""
    with whole_import():
        import yaml  # only who has templates waits for it

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            """Names are texts, also those that YAML takes for numbers or for yes and no."""
            self.flatten_mapping(node)
            if odd := next((k for k, _ in node.value if k.id != "scalar"), None):
                raise yaml.constructor.ConstructorError(None, None, "a name must be a text", odd.start_mark)
            return {str(self.construct_scalar(k)): self.construct_object(v, deep=deep) for k, v in node.value}

    Loader.yaml_implicit_resolvers = {
        key: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
        for key, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_multi_constructor("!", _construct)
    return Loader


def _construct(loader: Any, suffix: str, node: Any) -> Any:
    value: Any
    if node.id == "scalar":
        value = loader.construct_scalar(node)
    elif node.id == "sequence":
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix in ("Ref", "Condition"):
        return {suffix: value}
    if suffix not in _SHORT:
        raise ValidationError(f"Template format error: YAML not well-formed. Unsupported tag !{suffix}")
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {f"Fn::{suffix}": value}


def parse(body: str) -> Json:
    """A template's document; ValidationError when it is none."""
    with whole_import():
        import yaml

    try:
        document = bounded.loads(body) if body.lstrip().startswith("{") else yaml.load(body, Loader=_loader())
        bounded.check_depth(document, _MAX_VALUES)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise ValidationError(f"Template format error: YAML not well-formed.{where}") from None
    except (ValueError, yaml.YAMLError, RecursionError, UnicodeError) as error:
        raise ValidationError(f"Template format error: JSON not well-formed. ({error})") from None
    if not isinstance(document, dict):
        raise ValidationError("Template format error: unsupported structure.")
    if unknown := sorted(set(map(str, document)) - _SECTIONS):
        raise ValidationError(f"Invalid template property or properties [{', '.join(unknown)}]")
    resources = document.get("Resources")
    if not isinstance(resources, dict) or not resources:
        raise ValidationError("Template format error: At least one Resources member must be defined.")
    for name, resource in resources.items():
        if str(name).startswith("Fn::ForEach::"):
            continue
        if not isinstance(resource, dict) or "Type" not in resource:
            raise ValidationError(
                f"Template format error: [/Resources/{name}] Every Resources object must contain a Type member."
            )
    if problem := _problem(document):
        raise ValidationError(f"Template format error: {problem}")
    return document


def parameters(template: Json, given: list[Json] | None, before: Json) -> Json:
    """The values of a template's parameters: given, kept from before, or its defaults."""
    values = {}
    for item in given or ():
        name = item["ParameterKey"]
        values[name] = before.get(name) if item.get("UsePreviousValue") else item.get("ParameterValue", "")
    declared: Json = template.get("Parameters") or {}
    if unknown := [n for n in values if n not in declared]:
        raise ValidationError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    found: Json = {}
    missing = []
    for name, about in declared.items():
        value = values.get(name, about.get("Default"))
        if value is None:
            missing.append(name)
            continue
        text = str(value).lower() if isinstance(value, bool) else str(value)
        _check(name, about, text)
        found[name] = text
    if missing:
        raise ValidationError(f"Parameters: [{', '.join(missing)}] must have values")
    return found


def _check(name: str, about: Json, value: str) -> None:
    try:
        why = _violated(about, value)
    except ValueError as error:
        raise ValidationError(
            f"Template format error: Parameter '{name}' has a constraint that is none: {error}"
        ) from None
    if why:
        raise ValidationError(
            (
                about.get("ConstraintDescription")
                and f"Parameter {name} failed to satisfy constraint: {about['ConstraintDescription']}"
            )
            or f"Parameter '{name}' {why}"
        )


def _violated(about: Json, value: str) -> str:
    """Return which constraint a parameter's value does not keep; ValueError if a constraint cannot be read."""
    if (allowed := about.get("AllowedValues")) and value not in map(str, allowed):
        return f"must be one of AllowedValues: [{', '.join(map(str, allowed))}]"
    if (pattern := about.get("AllowedPattern")) and not _matches(pattern, value):
        return f"must match pattern {pattern}"
    if len(value) < int(about.get("MinLength") or 0):
        return f"must have length at least {about['MinLength']}"
    if len(value) > int(about.get("MaxLength") or 1 << 30):
        return f"must have length at most {about['MaxLength']}"
    if about.get("Type") == "Number":
        try:
            number = float(value)
        except ValueError:
            return "must be a number"
        low, high = about.get("MinValue", "-inf"), about.get("MaxValue", "inf")
        if number < float(low) or number > float(high):
            return f"must lie between {low} and {high}"
    return ""


def _matches(pattern: str, value: str) -> bool:
    try:
        return matches(pattern, value)
    except (PatternError, TooSlow) as error:
        raise ValueError(f"AllowedPattern {pattern[:100]}: {error}") from None
