"""Buckets and their policies, and repositories of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from ..kind import Json, Kind, Made, Work, gone, only, retag, tag_list, tags_of, text_of

# ---- S3 --------------------------------------------------------------------------------------------------------------


def _bucket(work: Work, props: Json) -> Made:
    s3 = work.client("s3")
    place = {} if work.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": work.region}}
    try:
        s3.create_bucket(Bucket=work.name, **place)
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
    return _bucket_settings(work, work.name, {}, props)


def _encryption(given: Json) -> Json:
    names = {"ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault"}
    return {"Rules": [_renamed(rule, names) for rule in given["ServerSideEncryptionConfiguration"]]}


def _cors(given: Json) -> Json:
    names = {"MaxAge": "MaxAgeSeconds", "Id": "ID", "ExposedHeaders": "ExposeHeaders"}
    return {"CORSRules": [_renamed(rule, names) for rule in given["CorsRules"]]}


def _website(given: Json) -> Json:
    found = only(given, "RedirectAllRequestsTo")
    if "IndexDocument" in given:
        found["IndexDocument"] = {"Suffix": given["IndexDocument"]}
    if "ErrorDocument" in given:
        found["ErrorDocument"] = {"Key": given["ErrorDocument"]}
    names = {"RedirectRule": "Redirect", "RoutingRuleCondition": "Condition"}
    if rules := given.get("RoutingRules"):
        found["RoutingRules"] = [_renamed(rule, names) for rule in rules]
    return found


def _logging(given: Json) -> Json:
    if "DestinationBucketName" not in given:
        return {}
    target = {"TargetBucket": given["DestinationBucketName"], "TargetPrefix": given.get("LogFilePrefix", "")}
    return {"LoggingEnabled": target}


_NOTIFIED = (
    ("LambdaConfigurations", "LambdaFunctionConfigurations", "Function", "LambdaFunctionArn"),
    ("QueueConfigurations", "QueueConfigurations", "Queue", "QueueArn"),
    ("TopicConfigurations", "TopicConfigurations", "Topic", "TopicArn"),
)


def _notifications(given: Json) -> Json:
    found: Json = {}
    for prop, member, target, arn in _NOTIFIED:
        for each in given.get(prop) or ():
            rule: Json = {"Events": [each["Event"]], arn: each[target]}
            if wanted := (each.get("Filter") or {}).get("S3Key"):
                rule["Filter"] = {"Key": {"FilterRules": wanted["Rules"]}}
            found.setdefault(member, []).append(rule)
    if (given.get("EventBridgeConfiguration") or {}).get("EventBridgeEnabled"):
        found["EventBridgeConfiguration"] = {}
    return found


def _lifecycle(given: Json) -> Json:
    return {"Rules": [_lifecycle_rule(rule) for rule in given.get("Rules") or ()]}


def _lifecycle_rule(given: Json) -> Json:
    rule = only(given, "Status", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload")
    if "Id" in given:
        rule["ID"] = given["Id"]
    rule["Filter"] = _lifecycle_filter(given)
    expiration = {
        "ExpirationInDays": "Days",
        "ExpirationDate": "Date",
        "ExpiredObjectDeleteMarker": "ExpiredObjectDeleteMarker",
    }
    if found := {api: given[name] for name, api in expiration.items() if name in given}:
        rule["Expiration"] = found
    if "NoncurrentVersionExpirationInDays" in given:
        rule["NoncurrentVersionExpiration"] = {"NoncurrentDays": given["NoncurrentVersionExpirationInDays"]}
    names = {"TransitionInDays": "Days", "TransitionDate": "Date"}
    if transitions := given.get("Transitions") or ([given["Transition"]] if "Transition" in given else []):
        rule["Transitions"] = [_renamed(each, names) for each in transitions]
    one = [given["NoncurrentVersionTransition"]] if "NoncurrentVersionTransition" in given else []
    if transitions := given.get("NoncurrentVersionTransitions") or one:
        names = {"TransitionInDays": "NoncurrentDays"}
        rule["NoncurrentVersionTransitions"] = [_renamed(each, names) for each in transitions]
    return rule


def _lifecycle_filter(given: Json) -> Json:
    """Which objects a rule means; several conditions must hold together."""
    conditions: Json = {n: int(given[n]) for n in ("ObjectSizeGreaterThan", "ObjectSizeLessThan") if n in given}
    tags = given.get("TagFilters") or []
    if not conditions and not tags:
        return {"Prefix": given.get("Prefix", "")}
    if given.get("Prefix"):
        conditions["Prefix"] = given["Prefix"]
    if len(conditions) + len(tags) == 1:
        return {"Tag": tags[0]} if tags else conditions
    return {"And": {**conditions, **({"Tags": tags} if tags else {})}}


def _replication(given: Json) -> Json:
    rules = []
    for given_rule in given["Rules"]:
        rule = _renamed(given_rule, {"Id": "ID"})
        if wanted := rule.get("Filter"):
            rule["Filter"] = _renamed(wanted, {"TagFilter": "Tag"})
            if every := wanted.get("And"):
                rule["Filter"]["And"] = _renamed(every, {"TagFilters": "Tags"})
        rules.append(rule)
    return {**given, "Rules": rules}


def _renamed(given: Json, names: dict[str, str]) -> Json:
    return {names.get(key, key): value for key, value in given.items()}


_SAME: Callable[[Json], Json] = dict
# property, the operations' name, the member, its spelling there, and what stands for "none" where nothing deletes it
_BUCKET: tuple[tuple[str, str, str, Callable[[Json], Json], Json | None], ...] = (
    ("PublicAccessBlockConfiguration", "public_access_block", "PublicAccessBlockConfiguration", _SAME, None),
    ("BucketEncryption", "bucket_encryption", "ServerSideEncryptionConfiguration", _encryption, None),
    ("OwnershipControls", "bucket_ownership_controls", "OwnershipControls", _SAME, None),
    ("CorsConfiguration", "bucket_cors", "CORSConfiguration", _cors, None),
    ("LifecycleConfiguration", "bucket_lifecycle_configuration", "LifecycleConfiguration", _lifecycle, None),
    ("WebsiteConfiguration", "bucket_website", "WebsiteConfiguration", _website, None),
    ("VersioningConfiguration", "bucket_versioning", "VersioningConfiguration", _SAME, {"Status": "Suspended"}),
    ("AccelerateConfiguration", "bucket_accelerate_configuration", "AccelerateConfiguration",
     lambda given: {"Status": given["AccelerationStatus"]}, {"Status": "Suspended"}),
    ("LoggingConfiguration", "bucket_logging", "BucketLoggingStatus", _logging, {}),
    ("ReplicationConfiguration", "bucket_replication", "ReplicationConfiguration", _replication, None),
    ("NotificationConfiguration", "bucket_notification_configuration", "NotificationConfiguration", _notifications, {}),
)  # fmt: skip


def _bucket_settings(work: Work, name: str, old: Json, props: Json) -> Made:
    s3 = work.client("s3")
    for prop, operation, member, spelled, none in _BUCKET:
        if props.get(prop) == old.get(prop):
            continue
        if given := props.get(prop):
            getattr(s3, f"put_{operation}")(Bucket=name, **{member: spelled(given)})
        elif none is not None:
            getattr(s3, f"put_{operation}")(Bucket=name, **{member: none})
        else:
            getattr(s3, f"delete_{operation.replace('lifecycle_configuration', 'lifecycle')}")(Bucket=name)
    if props.get("AccessControl") != old.get("AccessControl"):
        words = props.get("AccessControl", "Private")
        s3.put_bucket_acl(Bucket=name, ACL="".join(f"-{c.lower()}" if c.isupper() else c for c in words).lstrip("-"))
    if tags := tags_of(props):
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tag_list(tags)})
    elif tags_of(old):
        s3.delete_bucket_tagging(Bucket=name)
    return Made(
        name,
        {
            "Arn": f"arn:aws:s3:::{name}",
            "DomainName": f"{name}.s3.amazonaws.com",
            "RegionalDomainName": f"{name}.s3.{work.region}.amazonaws.com",
            "DualStackDomainName": f"{name}.s3.dualstack.{work.region}.amazonaws.com",
            "WebsiteURL": f"http://{name}.s3-website-{work.region}.amazonaws.com",
        },
    )


def _bucket_policy(work: Work, props: Json) -> Made:
    work.client("s3").put_bucket_policy(Bucket=props["Bucket"], Policy=text_of(props["PolicyDocument"]))
    return Made(props["Bucket"])


# ---- ECR -------------------------------------------------------------------------------------------------------------


def _lower(given: Any) -> Json:
    return {k[:1].lower() + k[1:]: v for k, v in (given or {}).items()}


def _repository(work: Work, props: Json) -> Made:
    ecr = work.client("ecr")
    given = {"encryptionConfiguration": _lower(props["EncryptionConfiguration"])} if props.get("EncryptionConfiguration") else {}  # fmt: skip
    try:
        ecr.create_repository(repositoryName=work.name, tags=tag_list(tags_of(props)), **given)
    except ecr.exceptions.RepositoryAlreadyExistsException:
        if not work.before:
            raise
    return _repository_settings(work, work.name, {}, props)


def _repository_settings(work: Work, name: str, old: Json, props: Json) -> Made:
    ecr = work.client("ecr")
    if policy := props.get("RepositoryPolicyText"):
        ecr.set_repository_policy(repositoryName=name, policyText=text_of(policy))
    elif old.get("RepositoryPolicyText"):
        gone(ecr.delete_repository_policy, repositoryName=name)
    if lifecycle := (props.get("LifecyclePolicy") or {}).get("LifecyclePolicyText"):
        ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=lifecycle)
    elif old.get("LifecyclePolicy"):
        gone(ecr.delete_lifecycle_policy, repositoryName=name)
    mutability, scanning = props.get("ImageTagMutability", "MUTABLE"), props.get("ImageScanningConfiguration")
    if mutability != old.get("ImageTagMutability", "MUTABLE"):
        ecr.put_image_tag_mutability(repositoryName=name, imageTagMutability=mutability)
    if scanning != old.get("ImageScanningConfiguration"):
        given = _lower(scanning) or {"scanOnPush": False}
        ecr.put_image_scanning_configuration(repositoryName=name, imageScanningConfiguration=given)
    (found,) = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    if old:
        arn = found["repositoryArn"]
        retag(
            old, props, lambda tags: ecr.tag_resource(resourceArn=arn, tags=tag_list(tags)),
            lambda keys: ecr.untag_resource(resourceArn=arn, tagKeys=keys),
        )  # fmt: skip
    return Made(name, {"Arn": found["repositoryArn"], "RepositoryUri": found["repositoryUri"]})


def _no_repository(work: Work, name: str, props: Json) -> None:
    gone(work.client("ecr").delete_repository, repositoryName=name, force=bool(props.get("EmptyOnDelete")))


KINDS: dict[str, Kind] = {
    "AWS::S3::Bucket": Kind(
        _bucket, lambda w, i, p: gone(w.client("s3").delete_bucket, Bucket=i), _bucket_settings, named="BucketName", limit=63,
        lower=True, ignores=(
            "AbacStatus", "AnalyticsConfigurations", "BucketNamePrefix", "BucketNamespace", "IntelligentTieringConfigurations",
            "InventoryConfigurations", "MetadataConfiguration", "MetadataTableConfiguration", "MetricsConfigurations",
            "ObjectLockConfiguration", "ObjectLockEnabled",
        ),
    ),
    "AWS::S3::BucketPolicy": Kind(
        _bucket_policy, lambda w, i, p: gone(w.client("s3").delete_bucket_policy, Bucket=i),
        lambda w, i, o, p: _bucket_policy(w, p),
    ),
    "AWS::ECR::Repository": Kind(
        _repository, _no_repository, _repository_settings, named="RepositoryName", limit=256, lower=True,
        ignores=("ImageTagMutabilityExclusionFilters",),
    ),
}  # fmt: skip
