"""Roles, users, their policies and keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..kind import Failed, Json, Kind, Made, Work, gone, only, retag, tag_list, text_of

# ---- policies of roles and users -------------------------------------------------------------------------------------


def _sync(iam: Any, holder: str, name: str, old: Json, props: Json) -> None:
    """Bring the policies of a role or a user (``holder``) to what they should be."""
    who = {f"{holder.capitalize()}Name": name}
    wanted = {p["PolicyName"]: text_of(p["PolicyDocument"]) for p in props.get("Policies") or ()}
    for policy in old.get("Policies") or ():
        if policy["PolicyName"] not in wanted:
            gone(getattr(iam, f"delete_{holder}_policy"), **who, PolicyName=policy["PolicyName"])
    for policy_name, document in wanted.items():
        getattr(iam, f"put_{holder}_policy")(**who, PolicyName=policy_name, PolicyDocument=document)
    before, arns = set(old.get("ManagedPolicyArns") or ()), set(props.get("ManagedPolicyArns") or ())
    for arn in sorted(before - arns):
        gone(getattr(iam, f"detach_{holder}_policy"), **who, PolicyArn=arn)
    for arn in sorted(arns):
        getattr(iam, f"attach_{holder}_policy")(**who, PolicyArn=arn)
    if old:
        retag(
            old, props, lambda tags: getattr(iam, f"tag_{holder}")(**who, Tags=tag_list(tags)),
            lambda keys: getattr(iam, f"untag_{holder}")(**who, TagKeys=keys),
        )  # fmt: skip


def _strip(iam: Any, holder: str, name: str) -> None:
    """Take every policy from a role or a user."""
    who = {f"{holder.capitalize()}Name": name}
    for policy in getattr(iam, f"list_{holder}_policies")(**who)["PolicyNames"]:
        gone(getattr(iam, f"delete_{holder}_policy"), **who, PolicyName=policy)
    for policy in getattr(iam, f"list_attached_{holder}_policies")(**who)["AttachedPolicies"]:
        gone(getattr(iam, f"detach_{holder}_policy"), **who, PolicyArn=policy["PolicyArn"])


def _role(work: Work, props: Json) -> Made:
    iam = work.client("iam")
    try:
        iam.create_role(
            RoleName=work.name, AssumeRolePolicyDocument=text_of(props["AssumeRolePolicyDocument"]),
            **only(props, "Path", "Description", "MaxSessionDuration", "PermissionsBoundary", "Tags"),
        )  # fmt: skip
    except iam.exceptions.EntityAlreadyExistsException:
        raise Failed(f"{work.name} already exists in stack or outside of it") from None
    return _changed_role(work, work.name, {}, props)


def _changed_role(work: Work, name: str, old: Json, props: Json) -> Made:
    iam = work.client("iam")
    if old and old.get("AssumeRolePolicyDocument") != props["AssumeRolePolicyDocument"]:
        document = text_of(props["AssumeRolePolicyDocument"])
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=document)
    if old:
        duration = props.get("MaxSessionDuration", 3600)
        iam.update_role(RoleName=name, Description=props.get("Description", ""), MaxSessionDuration=duration)
    _sync(iam, "role", name, old, props)
    found = iam.get_role(RoleName=name)["Role"]
    return Made(name, {"Arn": found["Arn"], "RoleId": found["RoleId"]})


def _no_holder(holder: str) -> Callable[[Work, str, Json], None]:
    """Removes a role or a user with its policies."""

    def delete(work: Work, name: str, props: Json) -> None:
        iam = work.client("iam")
        try:
            _strip(iam, holder, name)
        except iam.exceptions.NoSuchEntityException:
            return
        gone(getattr(iam, f"delete_{holder}"), **{f"{holder.capitalize()}Name": name})

    return delete


def _user(work: Work, props: Json) -> Made:
    iam = work.client("iam")
    iam.create_user(UserName=work.name, **only(props, "Path", "PermissionsBoundary", "Tags"))
    return _changed_user(work, work.name, {}, props)


def _changed_user(work: Work, name: str, old: Json, props: Json) -> Made:
    iam = work.client("iam")
    if old and old.get("Path", "/") != props.get("Path", "/"):
        iam.update_user(UserName=name, NewPath=props.get("Path", "/"))
    _sync(iam, "user", name, old, props)
    return Made(name, {"Arn": iam.get_user(UserName=name)["User"]["Arn"]})


# ---- policies by themselves ------------------------------------------------------------------------------------------


def _put_inline(work: Work, physical: str, old: Json, props: Json) -> Made:
    """One policy in several roles and users."""
    iam, document = work.client("iam"), text_of(props["PolicyDocument"])
    _drop_inline(iam, old, {key: set(props.get(key) or ()) for key in ("Roles", "Users")}, props["PolicyName"])
    for role in props.get("Roles") or ():
        iam.put_role_policy(RoleName=role, PolicyName=props["PolicyName"], PolicyDocument=document)
    for user in props.get("Users") or ():
        iam.put_user_policy(UserName=user, PolicyName=props["PolicyName"], PolicyDocument=document)
    return Made(physical or f"{work.stack[:4]}-{work.logical[:8]}-{props['PolicyName']}"[:64], {})


def _drop_inline(iam: Any, props: Json, kept: dict[str, set[str]], kept_name: str = "") -> None:
    for key, holder in (("Roles", "role"), ("Users", "user")):
        for name in props.get(key) or ():
            if name not in kept.get(key, ()) or props["PolicyName"] != kept_name:
                who = {f"{holder.capitalize()}Name": name}
                gone(getattr(iam, f"delete_{holder}_policy"), **who, PolicyName=props["PolicyName"])


def _one_inline(holder: str) -> Kind:
    """One policy of one role or user."""
    member = f"{holder.capitalize()}Name"

    def put(work: Work, props: Json) -> Made:
        if "PolicyDocument" not in props:
            raise Failed("Property validation failure: [The property {/PolicyDocument} is required]")
        document = text_of(props["PolicyDocument"])
        who = only(props, member, "PolicyName")
        getattr(work.client("iam"), f"put_{holder}_policy")(**who, PolicyDocument=document)
        return Made(f"{props['PolicyName']}|{props[member]}")

    def delete(work: Work, physical: str, props: Json) -> None:
        gone(getattr(work.client("iam"), f"delete_{holder}_policy"), **only(props, member, "PolicyName"))

    return Kind(put, delete, lambda work, physical, old, props: put(work, props))


def _managed_policy(work: Work, props: Json) -> Made:
    made = work.client("iam").create_policy(
        PolicyName=work.name, PolicyDocument=text_of(props["PolicyDocument"]), **only(props, "Path", "Description")
    )["Policy"]
    return _attachments(work, made["Arn"], {}, props)


def _attachments(work: Work, arn: str, old: Json, props: Json) -> Made:
    iam = work.client("iam")
    for key, holder in (("Roles", "role"), ("Users", "user")):
        before, wanted = set(old.get(key) or ()), set(props.get(key) or ())
        for name in sorted(before - wanted):
            gone(getattr(iam, f"detach_{holder}_policy"), **{f"{holder.capitalize()}Name": name}, PolicyArn=arn)
        for name in sorted(wanted):
            getattr(iam, f"attach_{holder}_policy")(**{f"{holder.capitalize()}Name": name}, PolicyArn=arn)
    return Made(arn, {"PolicyArn": arn})


def _changed_managed_policy(work: Work, arn: str, old: Json, props: Json) -> Made:
    iam = work.client("iam")
    if old["PolicyDocument"] != props["PolicyDocument"]:
        versions = [v for v in iam.list_policy_versions(PolicyArn=arn)["Versions"] if not v["IsDefaultVersion"]]
        if len(versions) >= 4:  # of five that a policy may have
            oldest = min(versions, key=lambda v: v["CreateDate"])
            iam.delete_policy_version(PolicyArn=arn, VersionId=oldest["VersionId"])
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=text_of(props["PolicyDocument"]), SetAsDefault=True)
    return _attachments(work, arn, old, props)


def _no_managed_policy(work: Work, arn: str, props: Json) -> None:
    iam = work.client("iam")
    arn = arn if arn.startswith("arn:") else f"arn:aws:iam::{work.account}:policy{props.get('Path', '/')}{arn}"
    _attachments(work, arn, props, {})
    try:
        versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    except iam.exceptions.NoSuchEntityException:
        return
    for version in versions:
        if not version["IsDefaultVersion"]:
            gone(iam.delete_policy_version, PolicyArn=arn, VersionId=version["VersionId"])
    gone(iam.delete_policy, PolicyArn=arn)


# ---- profiles and keys -----------------------------------------------------------------------------------------------


def _profile(work: Work, props: Json) -> Made:
    work.client("iam").create_instance_profile(InstanceProfileName=work.name, **only(props, "Path"))
    return _changed_profile(work, work.name, {}, props)


def _changed_profile(work: Work, name: str, old: Json, props: Json) -> Made:
    iam, before, wanted = work.client("iam"), old.get("Roles") or [], props.get("Roles") or []
    for role in (r for r in before if r not in wanted):
        gone(iam.remove_role_from_instance_profile, InstanceProfileName=name, RoleName=role)
    for role in (r for r in wanted if r not in before):
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
    found = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    return Made(name, {"Arn": found["Arn"], "InstanceProfileId": found["InstanceProfileId"]})


def _no_profile(work: Work, name: str, props: Json) -> None:
    iam = work.client("iam")
    for role in props.get("Roles") or ():
        gone(iam.remove_role_from_instance_profile, InstanceProfileName=name, RoleName=role)
    gone(iam.delete_instance_profile, InstanceProfileName=name)


def _access_key(work: Work, props: Json) -> Made:
    made = work.client("iam").create_access_key(UserName=props["UserName"])["AccessKey"]
    if props.get("Status") == "Inactive":
        _changed_access_key(work, made["AccessKeyId"], {}, props)
    return Made(made["AccessKeyId"], {"SecretAccessKey": made["SecretAccessKey"]})


def _changed_access_key(work: Work, physical: str, old: Json, props: Json) -> Made:
    who = {"UserName": props["UserName"], "AccessKeyId": physical}
    work.client("iam").update_access_key(**who, Status=props.get("Status", "Active"))
    return Made(physical, work.before)


def _no_access_key(work: Work, physical: str, props: Json) -> None:
    gone(work.client("iam").delete_access_key, UserName=props["UserName"], AccessKeyId=physical)


KINDS: dict[str, Kind] = {
    "AWS::IAM::Role": Kind(
        _role, _no_holder("role"), _changed_role, named="RoleName", limit=64, ignores=("PermissionsBoundary",)
    ),
    "AWS::IAM::Policy": Kind(
        lambda w, p: _put_inline(w, "", {}, p), lambda w, i, p: _drop_inline(w.client("iam"), p, {}), _put_inline,
        ignores=("Groups",),
    ),
    "AWS::IAM::RolePolicy": _one_inline("role"),
    "AWS::IAM::UserPolicy": _one_inline("user"),
    "AWS::IAM::ManagedPolicy": Kind(
        _managed_policy, _no_managed_policy, _changed_managed_policy, named="ManagedPolicyName", limit=128,
        ignores=("Groups",),
    ),
    "AWS::IAM::User": Kind(
        _user, _no_holder("user"), _changed_user, named="UserName", limit=64,
        ignores=("Groups", "LoginProfile", "PermissionsBoundary"),
    ),
    "AWS::IAM::InstanceProfile": Kind(_profile, _no_profile, _changed_profile, named="InstanceProfileName", limit=128),
    "AWS::IAM::AccessKey": Kind(_access_key, _no_access_key, _changed_access_key),
}  # fmt: skip
