"""A bucket's configuration documents: stored as they come, shown as they are. One row of a table each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ...provider.context import Context
from ...provider.errors import AwsError, coded
from ...wire import bounded
from ..outline import POLICY, problem_finder
from . import s3
from .errors import bucket, rows

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """One configuration: its operations' common name, its payload's member, its answer when there is none."""

    name: str  # as in PutBucket<name>
    request: str  # the member of the put that holds it
    response: str | None = None  # the member of the get that shows it; None when its fields stand alone
    missing: tuple[str, str] | None = None  # code and text of a 404
    default: Json | None = None  # shown instead of a 404


_BLOCKED = {n: True for n in ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")}
_PLAIN = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]}

DOCUMENTS = (
    Document("BucketCors", "CORSConfiguration", None, ("NoSuchCORSConfiguration", "The CORS configuration does not exist")),
    Document("BucketEncryption", "ServerSideEncryptionConfiguration", "ServerSideEncryptionConfiguration", None, _PLAIN),
    Document("BucketLifecycleConfiguration", "LifecycleConfiguration", None, ("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")),
    Document("BucketWebsite", "WebsiteConfiguration", None, ("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration")),
    Document("BucketReplication", "ReplicationConfiguration", "ReplicationConfiguration", ("ReplicationConfigurationNotFoundError", "The replication configuration was not found")),
    Document("BucketOwnershipControls", "OwnershipControls", "OwnershipControls", ("OwnershipControlsNotFoundError", "The bucket ownership controls were not found"), {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}),
    Document("PublicAccessBlock", "PublicAccessBlockConfiguration", "PublicAccessBlockConfiguration", ("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found"), _BLOCKED),
    Document("BucketLogging", "BucketLoggingStatus", None, None, {}),
    Document("BucketRequestPayment", "RequestPaymentConfiguration", None, None, {"Payer": "BucketOwner"}),
    Document("BucketAccelerateConfiguration", "AccelerateConfiguration", None, None, {}),
)  # fmt: skip

_REMOVED = "removed"
_DELETE_NAMES = {"BucketLifecycleConfiguration": "BucketLifecycle"}


def _slot(document: Document) -> str:
    return "encryption" if document.name == "BucketEncryption" else document.name


def _save(ctx: Context, request: Json, slot: str, value: Any) -> None:
    found = rows(ctx)
    home = bucket(ctx, found, request)
    documents = {k: v for k, v in home.documents.items() if k != slot}
    found.save_bucket(replace(home, documents=documents if value is None else {**documents, slot: value}))


def _load(ctx: Context, request: Json, slot: str) -> Any:
    return bucket(ctx, rows(ctx), request).documents.get(slot)


def _putter(document: Document) -> Callable[[Context, Json], None]:
    def put(ctx: Context, request: Json) -> None:
        _save(ctx, request, _slot(document), request[document.request])

    return put


def _getter(document: Document) -> Callable[[Context, Json], Json]:
    def get(ctx: Context, request: Json) -> Json:
        value = _load(ctx, request, _slot(document))
        if value is None:
            value = document.default
        if value is None or value == _REMOVED:
            assert document.missing is not None
            raise coded(*document.missing, 404, BucketName=request["Bucket"])
        return {document.response: value} if document.response else value

    return get


def _deleter(document: Document) -> Callable[[Context, Json], None]:
    def delete(ctx: Context, request: Json) -> None:
        removed = _REMOVED if document.default is not None and document.missing is not None else None
        _save(ctx, request, _slot(document), removed)

    return delete


def _bind() -> None:
    for document in DOCUMENTS:
        made = {
            f"Put{document.name}": _putter(document),
            f"Get{document.name}": _getter(document),
            f"Delete{_DELETE_NAMES.get(document.name, document.name)}": _deleter(document),
        }
        for name, function in made.items():
            if name in s3.model.operations:
                function.__name__ = name
                s3.operation(function)


_bind()


_problem = problem_finder(POLICY)


def _malformed(text: str) -> AwsError:
    return coded("MalformedPolicy", text, 400)


@s3.operation
def put_bucket_policy(ctx: Context, request: Json) -> None:
    """Store a policy; it must be a JSON object with statements."""
    text = request["Policy"]
    if not text.lstrip().startswith("{"):
        raise _malformed("Policies must be valid JSON and the first byte must be '{'")
    try:
        policy = bounded.loads(text)
    except ValueError:
        raise _malformed("This policy contains invalid Json") from None
    if len(text) > 20 << 10:
        raise _malformed("Policy exceeds the maximum allowed document size.")
    if "Statement" not in policy:
        raise _malformed("Missing required field Statement")
    if _problem(policy):
        raise _malformed("Policy has invalid resource, principal, action or condition")
    _save(ctx, request, "policy", text)


@s3.operation
def get_bucket_policy(ctx: Context, request: Json) -> Json:
    """The policy, as it was put."""
    text = _load(ctx, request, "policy")
    if text is None:
        raise coded("NoSuchBucketPolicy", "The bucket policy does not exist", 404, BucketName=request["Bucket"])
    return {"Policy": text}


@s3.operation
def delete_bucket_policy(ctx: Context, request: Json) -> None:
    """Remove the policy; a missing one is fine."""
    _save(ctx, request, "policy", None)
