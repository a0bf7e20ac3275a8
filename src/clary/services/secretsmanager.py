"""Secrets Manager: named secrets with versions and staging labels; their values are sealed on disk.

Source: AWS, "Secrets Manager API Reference" (labels, tokens and windows of recovery).
"""

from __future__ import annotations

import base64
import re
import secrets
import string
import uuid
from typing import Any

from ..clock import now
from ..provider.context import Context
from ..provider.errors import AwsError, coded
from ..provider.operation import Provider
from ..provider.pages import cut
from ..provider.service import Service
from ..store.rows import Row
from ..wire import bounded
from .sealing import Foreign, seal, unseal

Json = dict[str, Any]

secretsmanager = Provider("secretsmanager", required={"Filter": ("Key", "Values"), "Tag": ("Key",)})
SERVICE = Service(secretsmanager)

MAX_VERSIONS = 100
MAX_BYTES = 65536
_KIND, _PURPOSE = "Secret", "secretsmanager"
_CURRENT, _PREVIOUS = "AWSCURRENT", "AWSPREVIOUS"
_NAME = re.compile(r"^[A-Za-z0-9/_+=.@-]{1,512}$")
_DAY = 86400.0
_SUFFIX = string.ascii_letters + string.digits
_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def _invalid(text: str) -> AwsError:
    return coded("InvalidParameterException", text, 400)


def _refused(text: str) -> AwsError:
    return coded("InvalidRequestException", text, 400)


def _absent(what: str = "secret.") -> AwsError:
    return coded("ResourceNotFoundException", f"Secrets Manager can't find the specified {what}", 400)


# ---- secrets and versions --------------------------------------------------------------------------------------------


def _over(row: Row) -> bool:
    """Whether the window in which a secret could have been restored has passed."""
    deleted = row.private.get("delete_at")
    return deleted is not None and deleted <= now()


def _get(ctx: Context, name: str) -> Row | None:
    row = ctx.get(_KIND, name)
    if row is not None and _over(row):
        ctx.tx.rows.delete(row)
        return None
    return row


def find(ctx: Context, identifier: str, deleted: bool = False) -> Row:
    """The secret of a name, an ARN, or an ARN without the six characters at its end."""
    name = identifier.partition(":secret:")[2] if identifier.startswith("arn:") else identifier
    row = _get(ctx, name)
    if row is None and identifier.startswith("arn:") and (whole := _get(ctx, name[:-7])) is not None:
        row = whole if whole.arn == identifier else None
    if row is None:
        raise _absent()
    if row.private.get("delete_at") is not None and not deleted:
        raise _refused("You can't perform this operation on the secret because it was marked for deletion.")
    return row


def _value(ctx: Context, request: Json) -> Json | None:
    """The value that a request brings, as it is stored; None when it brings none."""
    if "SecretString" in request and "SecretBinary" in request:
        raise _invalid("You can't specify both a binary secret value and a string secret value in the same secret.")
    given = request.get("SecretString", request.get("SecretBinary"))
    if given is None:
        return None
    kind = "SecretString" if isinstance(given, str) else "SecretBinary"
    data = given.encode() if isinstance(given, str) else bytes(given)
    if len(data) > MAX_BYTES:
        raise _invalid(f"The secret value is larger than {MAX_BYTES} bytes.")
    return {"Kind": kind, "Value": seal(ctx.platform, _PURPOSE, data)}


def _opened(ctx: Context, version: Json) -> str | bytes:
    try:
        data = unseal(ctx.platform, _PURPOSE, version["Value"])
    except Foreign:
        text = "Secrets Manager can't decrypt the protected secret text: another platform's key sealed it."
        raise coded("DecryptionFailure", text, 400) from None
    return data.decode() if version["Kind"] == "SecretString" else data


def _put(ctx: Context, row: Row, value: Json, token: str, stages: list[str]) -> str:
    """Add a version, and move the labels that it is to have."""
    versions: dict[str, Json] = row.private["versions"]
    if token in versions:
        same = versions[token]["Kind"] == value["Kind"] and _opened(ctx, versions[token]) == _opened(ctx, value)
        if not same:
            text = (
                f"You can't use ClientRequestToken {token} because that value is already in use for a version of secret "
                f"{row.arn}."
            )
            raise coded("ResourceExistsException", text, 400)
        return token
    made = {**value, "Created": now(), "Stages": []}
    versions = _moved({**versions, token: made}, token, stages)
    if len(versions) > MAX_VERSIONS:  # the oldest of those that no label names
        plain = sorted((v["Created"], k) for k, v in versions.items() if not v["Stages"])
        if not plain:
            raise coded("LimitExceededException", f"A secret has {MAX_VERSIONS} labelled versions at most.", 400)
        versions = {k: v for k, v in versions.items() if k != plain[0][1]}
    ctx.tx.rows.save(row, private={**row.private, "versions": versions, "changed": now()})
    return token


def _moved(versions: dict[str, Json], to: str, stages: list[str]) -> dict[str, Json]:
    """The versions after labels went to one of them; what was current is then the previous one."""
    found = {k: {**v, "Stages": list(v["Stages"])} for k, v in versions.items()}
    for stage in stages:
        for key, version in found.items():
            if stage not in version["Stages"] or key == to:
                continue
            version["Stages"].remove(stage)
            if stage == _CURRENT:
                for other in found.values():
                    if _PREVIOUS in other["Stages"]:
                        other["Stages"].remove(_PREVIOUS)
                version["Stages"].append(_PREVIOUS)
        if stage not in found[to]["Stages"]:
            found[to]["Stages"].append(stage)
    if _CURRENT in stages and _PREVIOUS in found[to]["Stages"]:
        found[to]["Stages"].remove(_PREVIOUS)
    return found


def _select(row: Row, version: str | None, stage: str | None) -> tuple[str, Json]:
    """A version by id, by label, or the current one."""
    versions: dict[str, Json] = row.private["versions"]
    if version:
        if version in versions and (stage is None or stage in versions[version]["Stages"]):
            return version, versions[version]
        raise _absent(f"secret value for VersionId: {version}")
    wanted = stage or _CURRENT
    for key, found in versions.items():
        if wanted in found["Stages"]:
            return key, found
    raise _absent(f"secret value for staging label: {wanted}")


def value(ctx: Context, identifier: str, stage: str = "", version: str = "") -> str:
    """The text of a secret, for other services; AwsError when there is none."""
    found = _opened(ctx, _select(find(ctx, identifier), version or None, stage or None)[1])
    return found if isinstance(found, str) else base64.b64encode(found).decode()


# ---- operations ------------------------------------------------------------------------------------------------------


@secretsmanager.operation
def create_secret(ctx: Context, request: Json) -> Json:
    """A new secret, with its first version if a value is given."""
    name = request["Name"]
    if not _NAME.match(name):
        raise coded(
            "ValidationException",
            "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!",
            400,
        )
    given, token = _value(ctx, request), request.get("ClientRequestToken") or str(uuid.uuid4())
    row = _get(ctx, name)
    if row is not None:
        if row.private.get("delete_at") is not None:
            text = "You can't create this secret because a secret with this name is already scheduled for deletion."
            raise _refused(text)
        if given is None or token not in row.private["versions"]:
            text = f"The operation failed because the secret {name} already exists."
            raise coded("ResourceExistsException", text, 400)
        _put(ctx, row, given, token, [_CURRENT])  # the same request again
        return {"ARN": row.arn, "Name": name, "VersionId": token}
    suffix = "".join(secrets.choice(_SUFFIX) for _ in range(6))
    spec: Json = {k: request[k] for k in ("Description", "KmsKeyId") if k in request}
    arn = ctx.arn("secretsmanager", f"secret:{name}-{suffix}")
    row = Row(
        _KIND, ctx.account, ctx.region, name, arn, spec, private={"versions": {}, "changed": now()}, created=now()
    )
    row = ctx.tx.rows.add(row)
    if tags := request.get("Tags"):
        ctx.tx.tags.put(arn, {t["Key"]: t.get("Value", "") for t in tags})
    if given is None:
        return {"ARN": arn, "Name": name}
    return {"ARN": arn, "Name": name, "VersionId": _put(ctx, row, given, token, [_CURRENT])}


@secretsmanager.operation
def put_secret_value(ctx: Context, request: Json) -> Json:
    """A new version, which is the current one unless labels say otherwise."""
    row, given = find(ctx, request["SecretId"]), _value(ctx, request)
    if given is None:
        raise _invalid("You must provide either SecretString or SecretBinary.")
    token = request.get("ClientRequestToken") or str(uuid.uuid4())
    stages = request.get("VersionStages") or [_CURRENT]
    if not row.private["versions"] and _CURRENT not in stages:
        stages = [*stages, _CURRENT]
    version = _put(ctx, row, given, token, stages)
    kept = find(ctx, row.name).private["versions"][version]["Stages"]
    return {"ARN": row.arn, "Name": row.name, "VersionId": version, "VersionStages": kept}


@secretsmanager.operation
def update_secret(ctx: Context, request: Json) -> Json:
    """Change what describes a secret; with a value, a new version of it."""
    row, given = find(ctx, request["SecretId"]), _value(ctx, request)
    changes = {k: request[k] for k in ("Description", "KmsKeyId") if k in request}
    row = ctx.tx.rows.save(row, spec={**row.spec, **changes}, private={**row.private, "changed": now()})
    found = {"ARN": row.arn, "Name": row.name}
    if given is not None:
        token = request.get("ClientRequestToken") or str(uuid.uuid4())
        found["VersionId"] = _put(ctx, row, given, token, [_CURRENT])
    return found


def _shown_value(ctx: Context, row: Row, version: str | None, stage: str | None) -> Json:
    key, found = _select(row, version, stage)
    return {
        "ARN": row.arn, "Name": row.name, "VersionId": key, found["Kind"]: _opened(ctx, found),
        "VersionStages": found["Stages"], "CreatedDate": found["Created"],
    }  # fmt: skip


@secretsmanager.operation
def get_secret_value(ctx: Context, request: Json) -> Json:
    """A secret's value."""
    return _shown_value(ctx, find(ctx, request["SecretId"]), request.get("VersionId"), request.get("VersionStage"))


@secretsmanager.operation
def batch_get_secret_value(ctx: Context, request: Json) -> Json:
    """The values of several secrets, named or filtered."""
    if bool(request.get("SecretIdList")) == bool(request.get("Filters")):
        raise _invalid("You must specify either SecretIdList or Filters, but not both.")
    found, errors = [], []
    for identifier in request.get("SecretIdList") or [r.name for r in _listed(ctx, request)]:
        try:
            found.append(_shown_value(ctx, find(ctx, identifier), None, None))
        except AwsError as error:
            errors.append({"SecretId": identifier, "ErrorCode": error.code, "Message": error.message})
    return {"SecretValues": found, "Errors": errors}


def _shown(ctx: Context, row: Row) -> Json:
    versions = row.private["versions"]
    stages = {k: v["Stages"] for k, v in versions.items() if v["Stages"]}
    found = {
        "ARN": row.arn, "Name": row.name, "CreatedDate": row.created, "LastChangedDate": row.private["changed"],
        **row.spec,
    }  # fmt: skip
    if row.private.get("deleted") is not None:
        found["DeletedDate"] = row.private["deleted"]
    if tags := ctx.tx.tags.of(row.arn):
        found["Tags"] = [{"Key": k, "Value": v} for k, v in tags.items()]
    return {**found, "stages": stages}


@secretsmanager.operation
def describe_secret(ctx: Context, request: Json) -> Json:
    """All but the value."""
    found = _shown(ctx, find(ctx, request["SecretId"], deleted=True))
    stages = found.pop("stages")
    return {**found, **({"VersionIdsToStages": stages} if stages else {})}


def _listed(ctx: Context, request: Json) -> list[Row]:
    rows = [r for r in ctx.tx.rows.list(_KIND, ctx.account, ctx.region) if not _over(r)]
    if not request.get("IncludePlannedDeletion"):
        rows = [r for r in rows if r.private.get("delete_at") is None]
    for condition in request.get("Filters") or ():
        rows = [r for r in rows if _matches(ctx, r, condition)]
    return sorted(rows, key=lambda r: r.created, reverse=request.get("SortOrder", "desc") == "desc")


def _matches(ctx: Context, row: Row, condition: Json) -> bool:
    tags = ctx.tx.tags.of(row.arn)
    places = {
        "name": [row.name], "description": [row.spec.get("Description", "")], "tag-key": list(tags),
        "tag-value": list(tags.values()), "primary-region": [row.region], "owning-service": [],
    }  # fmt: skip
    places["all"] = [*places["name"], *places["description"], *tags, *tags.values()]
    texts = places.get(condition["Key"], [])
    for wanted in condition["Values"]:
        no, plain = wanted.startswith("!"), wanted.lstrip("!")
        if any(t.startswith(plain) for t in texts) != no:
            return True
    return False


@secretsmanager.operation
def list_secrets(ctx: Context, request: Json) -> Json:
    """Secrets, the newest first."""
    invalid = coded("InvalidNextTokenException", "The NextToken value is invalid.", 400)
    rows, token = cut(_listed(ctx, request), request.get("NextToken"), request.get("MaxResults", 100), invalid)
    found = [_shown(ctx, r) for r in rows]
    listed = [{**{k: v for k, v in f.items() if k != "stages"}, "SecretVersionsToStages": f["stages"]} for f in found]
    return {"SecretList": listed, **({"NextToken": token} if token else {})}


@secretsmanager.operation
def list_secret_version_ids(ctx: Context, request: Json) -> Json:
    """A secret's versions; those without a label only when they are asked for."""
    row = find(ctx, request["SecretId"], deleted=True)
    versions = [
        {"VersionId": k, "VersionStages": v["Stages"], "CreatedDate": v["Created"]}
        for k, v in row.private["versions"].items()
        if v["Stages"] or request.get("IncludeDeprecated")
    ]
    return {"Versions": versions, "ARN": row.arn, "Name": row.name}


@secretsmanager.operation
def update_secret_version_stage(ctx: Context, request: Json) -> Json:
    """Move a label from one version to another, or take it away."""
    row, stage = find(ctx, request["SecretId"]), request["VersionStage"]
    versions: dict[str, Json] = row.private["versions"]
    origin, target = request.get("RemoveFromVersionId"), request.get("MoveToVersionId")
    holder = next((k for k, v in versions.items() if stage in v["Stages"]), None)
    for key in filter(None, (origin, target)):
        if key not in versions:
            raise _absent(f"secret value for VersionId: {key}")
    if holder is not None and holder != target and origin != holder:
        text = f"The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached to version {holder}, so you must explicitly reference that version in RemoveFromVersionId."
        raise _invalid(text)
    if target:
        versions = _moved(versions, target, [stage])
    elif stage == _CURRENT:
        raise _invalid("You can't remove the staging label AWSCURRENT: move it to another version.")
    elif origin:
        kept = [s for s in versions[origin]["Stages"] if s != stage]
        versions = {**versions, origin: {**versions[origin], "Stages": kept}}
    ctx.tx.rows.save(row, private={**row.private, "versions": versions, "changed": now()})
    return {"ARN": row.arn, "Name": row.name}


@secretsmanager.operation
def delete_secret(ctx: Context, request: Json) -> Json:
    """Mark a secret for deletion in some days, or remove it now."""
    force, days = request.get("ForceDeleteWithoutRecovery", False), request.get("RecoveryWindowInDays")
    if force and days is not None:
        raise _invalid("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
    if days is not None and not 7 <= days <= 30:
        raise _invalid("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
    try:
        row = find(ctx, request["SecretId"], deleted=force)
    except AwsError as error:
        if force and error.code == "ResourceNotFoundException":  # removing what is not there succeeds
            name = request["SecretId"]
            return {"ARN": name, "Name": name, "DeletionDate": now()}
        raise
    if force:
        ctx.tx.rows.delete(row)
        return {"ARN": row.arn, "Name": row.name, "DeletionDate": now()}
    at = now() + (days or 30) * _DAY
    ctx.tx.rows.save(row, private={**row.private, "delete_at": at, "deleted": now()})
    return {"ARN": row.arn, "Name": row.name, "DeletionDate": at}


@secretsmanager.operation
def restore_secret(ctx: Context, request: Json) -> Json:
    """Take a deletion back."""
    row = find(ctx, request["SecretId"], deleted=True)
    private = {k: v for k, v in row.private.items() if k not in ("delete_at", "deleted")}
    ctx.tx.rows.save(row, private=private)
    return {"ARN": row.arn, "Name": row.name}


@secretsmanager.operation
def get_random_password(ctx: Context, request: Json) -> Json:
    """A password of so many characters, with one of each kind unless that is not wanted."""
    return {"RandomPassword": password(request)}


def password(request: Json) -> str:
    """The same for other services, from the same members."""
    length, excluded = int(request.get("PasswordLength", 32)), set(request.get("ExcludeCharacters", ""))
    kinds = {
        "ExcludeLowercase": string.ascii_lowercase, "ExcludeUppercase": string.ascii_uppercase,
        "ExcludeNumbers": string.digits, "ExcludePunctuation": _PUNCTUATION,
    }  # fmt: skip
    chosen = ["".join(c for c in text if c not in excluded) for name, text in kinds.items() if not request.get(name)]
    if request.get("IncludeSpace") and " " not in excluded:
        chosen.append(" ")
    chosen = [text for text in chosen if text]
    each = request.get("RequireEachIncludedType", True)
    if not chosen or (each and length < len(chosen)):
        raise _invalid("The password length is too short based on the required types.")
    found = [secrets.choice(text) for text in chosen] if each else []
    found += [secrets.choice("".join(chosen)) for _ in range(length - len(found))]
    secrets.SystemRandom().shuffle(found)
    return "".join(found)


@secretsmanager.operation
def put_resource_policy(ctx: Context, request: Json) -> Json:
    """Who may use a secret."""
    row = find(ctx, request["SecretId"])
    try:
        bounded.loads(request["ResourcePolicy"])
    except ValueError:
        raise coded("MalformedPolicyDocumentException", "This resource policy contains invalid Json.", 400) from None
    ctx.tx.rows.save(row, private={**row.private, "policy": request["ResourcePolicy"]})
    return {"ARN": row.arn, "Name": row.name}


@secretsmanager.operation
def get_resource_policy(ctx: Context, request: Json) -> Json:
    """A secret's policy, if it has one."""
    row = find(ctx, request["SecretId"])
    policy = {"ResourcePolicy": row.private["policy"]} if "policy" in row.private else {}
    return {"ARN": row.arn, "Name": row.name, **policy}


@secretsmanager.operation
def delete_resource_policy(ctx: Context, request: Json) -> Json:
    """Take a secret's policy away."""
    row = find(ctx, request["SecretId"])
    ctx.tx.rows.save(row, private={k: v for k, v in row.private.items() if k != "policy"})
    return {"ARN": row.arn, "Name": row.name}


@secretsmanager.operation
def tag_resource(ctx: Context, request: Json) -> None:
    """Add or replace tags."""
    ctx.tx.tags.put(find(ctx, request["SecretId"]).arn, {t["Key"]: t.get("Value", "") for t in request["Tags"]})


@secretsmanager.operation
def untag_resource(ctx: Context, request: Json) -> None:
    """Remove tags."""
    ctx.tx.tags.remove(find(ctx, request["SecretId"]).arn, request["TagKeys"])
