"""Parameters of the Parameter Store, and secrets."""

from __future__ import annotations

import json
import uuid

from ....wire import bounded
from ..kind import Failed, Json, Kind, Made, Work, gone, only, retag, tag_list, tags_of, text_of


def _parameter(work: Work, props: Json) -> Made:
    given = only(props, "Type", "Value", "Description", "Tier", "AllowedPattern", "DataType", "Policies")
    tags = {"Tags": tag_list(tags_of(props))} if tags_of(props) and not work.before else {}
    work.client("ssm").put_parameter(Name=work.name, Overwrite=bool(work.before), **given, **tags)
    return Made(work.name, {"Type": props["Type"], "Value": props["Value"]})


def _changed_parameter(work: Work, name: str, old: Json, props: Json) -> Made:
    ssm, place = work.client("ssm"), {"ResourceType": "Parameter", "ResourceId": name}
    retag(
        old, props, lambda tags: ssm.add_tags_to_resource(**place, Tags=tag_list(tags)),
        lambda keys: ssm.remove_tags_from_resource(**place, TagKeys=keys),
    )  # fmt: skip
    return _parameter(work, props)


# ---- secrets -----------------------------------------------------------------------------------------------------------


def _generated(work: Work, about: Json) -> str:
    """A secret's text with a random password, by itself or under a key of a template."""
    asked = {k: v for k, v in about.items() if k not in ("SecretStringTemplate", "GenerateStringKey")}
    text: str = work.client("secretsmanager").get_random_password(**asked)["RandomPassword"]
    if "GenerateStringKey" not in about:
        return text
    try:
        return json.dumps({**bounded.loads(about.get("SecretStringTemplate", "{}")), about["GenerateStringKey"]: text})
    except ValueError:
        raise Failed("Could not parse SecretStringTemplate JSON") from None


def _secret(work: Work, props: Json) -> Made:
    given = only(props, "Description", "KmsKeyId", "SecretString", "Tags")
    if "GenerateSecretString" in props:
        given["SecretString"] = _generated(work, props["GenerateSecretString"] or {})
    # the same token if this is tried again: then it is the secret that was made before
    token = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{work.stack_id}/{work.logical}/{work.name}"))
    client = work.client("secretsmanager")
    try:
        made = client.create_secret(Name=work.name, ClientRequestToken=token, **given)
    except client.exceptions.ResourceExistsException:
        made = client.describe_secret(SecretId=work.name)
        if token not in made.get("VersionIdsToStages", {}):
            raise
    return Made(made["ARN"], {"Id": made["ARN"]})


def _changed_secret(work: Work, physical: str, old: Json, props: Json) -> Made:
    client, given = work.client("secretsmanager"), only(props, "Description", "KmsKeyId")
    if props.get("SecretString") != old.get("SecretString") and "SecretString" in props:
        given["SecretString"] = props["SecretString"]
    if (about := props.get("GenerateSecretString")) != old.get("GenerateSecretString") and about is not None:
        given["SecretString"] = _generated(work, about)
    client.update_secret(SecretId=physical, **given)
    retag(
        old, props, lambda tags: client.tag_resource(SecretId=physical, Tags=tag_list(tags)),
        lambda keys: client.untag_resource(SecretId=physical, TagKeys=keys),
    )  # fmt: skip
    return Made(physical, {"Id": physical})


def _secret_policy(work: Work, props: Json) -> Made:
    client = work.client("secretsmanager")
    made = client.put_resource_policy(SecretId=props["SecretId"], ResourcePolicy=text_of(props["ResourcePolicy"]))
    return Made(made["ARN"], {"Id": made["ARN"]})


KINDS: dict[str, Kind] = {
    "AWS::SSM::Parameter": Kind(
        _parameter, lambda w, i, p: gone(w.client("ssm").delete_parameter, Name=i), _changed_parameter, named="Name"
    ),
    "AWS::SecretsManager::Secret": Kind(
        _secret,
        lambda w, i, p: gone(w.client("secretsmanager").delete_secret, SecretId=i, ForceDeleteWithoutRecovery=True),
        _changed_secret, named="Name", ignores=("ReplicaRegions", "Type"),
    ),
    "AWS::SecretsManager::ResourcePolicy": Kind(
        _secret_policy,
        lambda w, i, p: gone(w.client("secretsmanager").delete_resource_policy, SecretId=p["SecretId"]),
        lambda w, i, o, p: _secret_policy(w, p), ignores=("BlockPublicPolicy",),
    ),
}  # fmt: skip
