"""The account border of S3: which accounts may read and write a bucket.

Every use of an object passes here: S3's own operations, and what other services read and write for their callers.
"""

from __future__ import annotations

from .object import Bucket

PUBLIC = "PublicRead"
"""The bucket document that lets every account, and requests without credentials, read the objects."""


def readable(bucket: Bucket, account: str) -> bool:
    """Return whether an account may read a bucket's objects; an empty account is an anonymous caller."""
    return writable(bucket, account) or bool(bucket.documents.get(PUBLIC))


def writable(bucket: Bucket, account: str) -> bool:
    """Return whether an account may write a bucket's objects."""
    return bool(account) and bucket.account == account
