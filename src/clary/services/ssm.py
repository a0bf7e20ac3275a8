"""Systems Manager's Parameter Store: named values with versions and labels; secret ones are sealed on disk."""

from __future__ import annotations

import re
from typing import Any

from ..clock import now
from ..patterns import PatternError, TooSlow, matches
from ..provider.context import Context
from ..provider.errors import AwsError, ValidationException, coded
from ..provider.operation import Provider
from ..provider.pages import cut
from ..provider.service import Service
from ..store.rows import Row
from .sealing import Foreign, seal, unseal

Json = dict[str, Any]

ssm = Provider("ssm")
SERVICE = Service(ssm)

MAX_VERSIONS = 100
MAX_LABELS = 10
_LIMITS = {"Standard": 4096, "Advanced": 8192}
_MAX_DEPTH = 15
_NAME = re.compile(r"^[A-Za-z0-9_.\-/]+$")
_LABEL = re.compile(r"^(?!aws|ssm|\d)[A-Za-z0-9_.\-]{1,100}$", re.IGNORECASE)


# ---- names, versions, values ----------------------------------------------------------------------------------------


def _check_name(name: str) -> None:
    if not _NAME.match(name):
        raise ValidationException(
            'Parameter name: can\'t be prefixed with "ssm" (case-insensitive). If formed as a path, it can consist of '
            "sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following "
            "3 symbols .-_"
        )
    if "/" in name and not name.startswith("/"):
        raise ValidationException("Parameter name must be a fully qualified name.")
    if name.strip("/").split("/")[0].lower().startswith(("aws", "ssm")):
        raise coded("AccessDeniedException", f"No access to reserved parameter name: {name}.", 400)
    if name.count("/") > _MAX_DEPTH:
        raise coded(
            "HierarchyLevelLimitExceededException",
            f"Hierarchy level cannot exceed maximum number of levels {_MAX_DEPTH}",
            400,
        )


def _allowed(pattern: str, value: str) -> bool:
    try:
        return matches(pattern, value)
    except (PatternError, TooSlow) as error:
        text = f"AllowedPattern {pattern[:100]} is not valid: {error}"
        raise coded("InvalidAllowedPatternException", text, 400) from None


def _plain(name: str) -> str:
    """A parameter's name, also where its ARN is given."""
    if name.startswith("arn:"):
        path = name.partition(":parameter/")[2]
        return f"/{path}" if "/" in path else path
    return name


def _arn(ctx: Context, name: str) -> str:
    return ctx.arn("ssm", f"parameter/{name.lstrip('/')}")


def _not_found(text: str = "") -> AwsError:
    return coded("ParameterNotFound", text, 400)


def _read(ctx: Context, version: Json, decrypt: bool) -> str:
    value: str = version["Value"]
    if version["Type"] != "SecureString" or not decrypt:
        return value
    try:
        return unseal(ctx.platform, "ssm", value).decode()
    except Foreign:
        raise coded("InvalidKeyId", "The parameter was sealed with another platform's key.", 400) from None


def _select(ctx: Context, name: str) -> tuple[Row, Json, str]:
    """A parameter, the version that is meant, and the selector that said so (``:3``, ``:label``)."""
    base, selector = _plain(name), ""
    if (row := ctx.get("Parameter", base)) is None and ":" in base:
        base, _, selector = base.rpartition(":")
        row = ctx.get("Parameter", base)
    if row is None:
        raise _not_found()
    versions: list[Json] = row.private["versions"]
    if not selector:
        return row, versions[-1], ""
    for version in versions:
        if selector == str(version["Version"]) or selector in version["Labels"]:
            return row, version, f":{selector}"
    text = f"Systems Manager could not find version {selector} of {base}. Verify the version and try again."
    raise coded("ParameterVersionNotFound", text, 400)


def _shown(ctx: Context, row: Row, version: Json, selector: str, decrypt: bool) -> Json:
    found = {
        "Name": row.name, "Type": version["Type"], "Value": _read(ctx, version, decrypt), "Version": version["Version"],
        "LastModifiedDate": version["LastModifiedDate"], "ARN": row.arn, "DataType": version["DataType"],
    }  # fmt: skip
    return {**found, "Selector": selector} if selector else found


def value(ctx: Context, name: str, decrypt: bool = False) -> str:
    """What other services read; AwsError ParameterNotFound."""
    _, version, _ = _select(ctx, name)
    return _read(ctx, version, decrypt)


# ---- operations ------------------------------------------------------------------------------------------------------


@ssm.operation
def put_parameter(ctx: Context, request: Json) -> Json:
    """A new parameter, or a new version of one."""
    name, tier = request["Name"], request.get("Tier", "Standard")
    _check_name(name)
    row = ctx.get("Parameter", name)
    if row is not None and not request.get("Overwrite"):
        raise coded(
            "ParameterAlreadyExists",
            "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.",
            400,
        )
    kind = request.get("Type") or (row.private["versions"][-1]["Type"] if row else None)
    if kind is None:
        raise ValidationException("A parameter type is required when you create a parameter.")
    if request.get("Tags") and request.get("Overwrite"):
        raise ValidationException(
            "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove "
            "overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or "
            "RemoveTagsFromResource."
        )
    tier = "Standard" if tier == "Intelligent-Tiering" and len(request["Value"].encode()) <= 4096 else tier
    limit = _LIMITS.get(tier, _LIMITS["Advanced"])
    if len(request["Value"].encode()) > limit:
        raise ValidationException(
            f"{tier} tier parameters support a maximum parameter value of {limit} characters. To create a larger "
            "parameter value, upgrade the parameter to use the advanced-parameter tier."
        )
    if (pattern := request.get("AllowedPattern")) and not _allowed(pattern, request["Value"]):
        raise coded(
            "ParameterPatternMismatchException",
            f"Parameter value, cannot be validated against allowedPattern: {pattern}",
            400,
        )
    text = request["Value"]
    if kind == "SecureString":
        text = seal(ctx.platform, "ssm", text.encode())
    versions = list(row.private["versions"]) if row else []
    version: Json = {
        "Version": versions[-1]["Version"] + 1 if versions else 1, "Value": text, "Type": kind, "Labels": [],
        "LastModifiedDate": now(), "DataType": request.get("DataType", "text"), "LastModifiedUser": ctx.caller.arn,
        "Tier": tier, **{k: request[k] for k in ("Description", "AllowedPattern", "Policies") if k in request},
    }  # fmt: skip
    if kind == "SecureString":
        version["KeyId"] = request.get("KeyId", "alias/aws/ssm")
    if len(versions) >= MAX_VERSIONS:
        if versions[0]["Labels"]:
            raise coded(
                "ParameterMaxVersionLimitExceeded",
                f"You attempted to create a new version of {name} by calling the PutParameter API with the overwrite flag. "
                f"Version {versions[0]['Version']}, the oldest version, can't be deleted because it has a label associated "
                "with it. Move the label to another version of the parameter, and try again.",
                400,
            )
        versions = versions[1:]
    versions.append(version)
    if row is None:
        arn = _arn(ctx, name)
        ctx.tx.rows.add(
            Row("Parameter", ctx.account, ctx.region, name, arn, {}, private={"versions": versions}, created=now())
        )
        if tags := request.get("Tags"):
            ctx.tx.tags.put(arn, {t["Key"]: t["Value"] for t in tags})
    else:
        ctx.tx.rows.save(row, private={"versions": versions})
    return {"Version": version["Version"], "Tier": tier}


@ssm.operation
def get_parameter(ctx: Context, request: Json) -> Json:
    """A parameter's latest version, or the one that is named."""
    return {"Parameter": _shown(ctx, *_select(ctx, request["Name"]), bool(request.get("WithDecryption")))}


@ssm.operation
def get_parameters(ctx: Context, request: Json) -> Json:
    """Several parameters; those that are not there are listed."""
    found, missing = [], []
    for name in dict.fromkeys(request["Names"]):
        try:
            found.append(_shown(ctx, *_select(ctx, name), bool(request.get("WithDecryption"))))
        except AwsError:
            missing.append(name)
    return {"Parameters": found, "InvalidParameters": missing}


@ssm.operation
def get_parameters_by_path(ctx: Context, request: Json) -> Json:
    """The parameters below a path."""
    path = request["Path"]
    if not path.startswith("/"):
        raise ValidationException("The parameter path must start with a slash: /.")
    prefix = path.rstrip("/") + "/"
    rows = [r for r in _rows(ctx) if r.name.startswith(prefix)]
    if not request.get("Recursive"):
        rows = [r for r in rows if "/" not in r.name[len(prefix) :]]
    rows = [r for r in rows if _matches(ctx, r, request.get("ParameterFilters"))]
    decrypt = bool(request.get("WithDecryption"))
    shown = [_shown(ctx, r, r.private["versions"][-1], "", decrypt) for r in rows]
    return _paged("Parameters", shown, request, 10)


def _rows(ctx: Context) -> list[Row]:
    return sorted(ctx.tx.rows.list("Parameter", ctx.account, ctx.region), key=lambda r: r.name)


def _matches(ctx: Context, row: Row, filters: list[Json] | None) -> bool:
    latest = row.private["versions"][-1]
    for condition in filters or ():
        key, option = condition["Key"], condition.get("Option", "Equals")
        values = condition.get("Values") or []
        if key.startswith("tag:"):
            have = ctx.tx.tags.of(row.arn).get(key[4:])
            if have is None or (values and have not in values):
                return False
            continue
        have = {
            "Name": row.name, "Type": latest["Type"], "KeyId": latest.get("KeyId", ""), "Tier": latest["Tier"],
            "DataType": latest["DataType"], "Path": row.name,
        }.get(key, "")  # fmt: skip
        if key == "Label":
            if not any(v in version["Labels"] for version in row.private["versions"] for v in values):
                return False
        elif key == "Path":
            if not any(have.startswith(v.rstrip("/") + "/") for v in values):
                return False
        elif option == "BeginsWith":
            if not any(have.startswith(v) or have.lstrip("/").startswith(v) for v in values):
                return False
        elif option == "Contains":
            if not any(v in have for v in values):
                return False
        elif have not in values:
            return False
    return True


def _paged(member: str, items: list[Json], request: Json, default: int) -> Json:
    invalid = coded("InvalidNextToken", "The specified token is not valid.", 400)
    shown, token = cut(items, request.get("NextToken"), request.get("MaxResults", default), invalid)
    return {member: shown, **({"NextToken": token} if token else {})}


def _described(row: Row, version: Json) -> Json:
    names = (
        "Type", "KeyId", "LastModifiedDate", "LastModifiedUser", "Description", "AllowedPattern", "Version", "Tier",
        "DataType",
    )  # fmt: skip
    return {"Name": row.name, "ARN": row.arn, "Policies": [], **{n: version[n] for n in names if n in version}}


@ssm.operation
def describe_parameters(ctx: Context, request: Json) -> Json:
    """Parameters without their values."""
    rows = [r for r in _rows(ctx) if _matches(ctx, r, request.get("ParameterFilters"))]
    for old in request.get("Filters") or ():
        rows = [
            r for r in rows if _matches(ctx, r, [{"Key": old["Key"], "Option": "BeginsWith", "Values": old["Values"]}])
        ]
    return _paged("Parameters", [_described(r, r.private["versions"][-1]) for r in rows], request, 50)


@ssm.operation
def get_parameter_history(ctx: Context, request: Json) -> Json:
    """Every version of a parameter."""
    row, _, _ = _select(ctx, request["Name"])
    decrypt = bool(request.get("WithDecryption"))
    shown = [
        {**_described(row, v), "Value": _read(ctx, v, decrypt), "Labels": v["Labels"]} for v in row.private["versions"]
    ]
    return _paged("Parameters", [{k: x for k, x in s.items() if k != "ARN"} for s in shown], request, 50)


@ssm.operation
def delete_parameter(ctx: Context, request: Json) -> Json:
    """Remove a parameter."""
    if (row := ctx.get("Parameter", _plain(request["Name"]))) is None:
        raise _not_found()
    ctx.tx.rows.delete(row)
    return {}


@ssm.operation
def delete_parameters(ctx: Context, request: Json) -> Json:
    """Remove several."""
    gone, missing = [], []
    for name in request["Names"]:
        if (row := ctx.get("Parameter", _plain(name))) is None:
            missing.append(name)
        else:
            ctx.tx.rows.delete(row)
            gone.append(name)
    return {"DeletedParameters": gone, "InvalidParameters": missing}


@ssm.operation
def label_parameter_version(ctx: Context, request: Json) -> Json:
    """Put labels on a version; they leave the one that had them."""
    row, latest, _ = _select(ctx, request["Name"])
    wanted = request.get("ParameterVersion", latest["Version"])
    if not any(v["Version"] == wanted for v in row.private["versions"]):
        raise coded(
            "ParameterVersionNotFound",
            f"Systems Manager could not find version {wanted} of {row.name}. Verify the version and try again.",
            400,
        )
    good = [label for label in request["Labels"] if _LABEL.match(label)]
    versions = []
    for version in row.private["versions"]:
        kept = [label for label in version["Labels"] if label not in good]
        versions.append({**version, "Labels": [*kept, *good] if version["Version"] == wanted else kept})
    if any(len(v["Labels"]) > MAX_LABELS for v in versions):
        raise coded(
            "ParameterVersionLabelLimitExceeded", f"A parameter version can have a maximum of {MAX_LABELS} labels.", 400
        )
    ctx.tx.rows.save(row, private={"versions": versions})
    return {"InvalidLabels": [label for label in request["Labels"] if label not in good], "ParameterVersion": wanted}


@ssm.operation
def unlabel_parameter_version(ctx: Context, request: Json) -> Json:
    """Take labels off a version."""
    row, _, _ = _select(ctx, request["Name"])
    removed: list[str] = []
    versions = []
    for version in row.private["versions"]:
        if version["Version"] == request["ParameterVersion"]:
            removed = [label for label in request["Labels"] if label in version["Labels"]]
            version = {**version, "Labels": [label for label in version["Labels"] if label not in removed]}
        versions.append(version)
    ctx.tx.rows.save(row, private={"versions": versions})
    return {"RemovedLabels": removed, "InvalidLabels": [label for label in request["Labels"] if label not in removed]}


def _tagged(ctx: Context, request: Json) -> str:
    if request["ResourceType"] != "Parameter":
        raise coded(
            "InvalidResourceType",
            f"Clary tags resources of the type Parameter; {request['ResourceType']} is not served yet.",
            400,
        )
    if (row := ctx.get("Parameter", _plain(request["ResourceId"]))) is None:
        raise coded(
            "InvalidResourceId",
            "The resource ID is not valid. Verify that you entered the correct ID and try again.",
            400,
        )
    return row.arn


@ssm.operation
def add_tags_to_resource(ctx: Context, request: Json) -> Json:
    """Add or replace tags."""
    ctx.tx.tags.put(_tagged(ctx, request), {t["Key"]: t["Value"] for t in request["Tags"]})
    return {}


@ssm.operation
def remove_tags_from_resource(ctx: Context, request: Json) -> Json:
    """Remove tags."""
    ctx.tx.tags.remove(_tagged(ctx, request), request["TagKeys"])
    return {}


@ssm.operation
def list_tags_for_resource(ctx: Context, request: Json) -> Json:
    """A parameter's tags."""
    return {"TagList": [{"Key": k, "Value": v} for k, v in ctx.tx.tags.of(_tagged(ctx, request)).items()]}
