"""S3 through boto3: objects, ranges, conditions, multipart, versions, listings, checksums, presigned URLs."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.platform import Platform


@pytest.fixture
def s3(platform: Platform) -> Any:
    return platform.client("s3")


@pytest.fixture
def bucket(s3: Any, name: str) -> Iterator[str]:
    s3.create_bucket(Bucket=name)
    return name


def code(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_an_object_comes_back_as_it_was_put(s3: Any, bucket: str) -> None:
    body = os.urandom(300_000)
    put = s3.put_object(
        Bucket=bucket, Key="a/ü +%&.bin", Body=body, ContentType="text/x-test", CacheControl="no-cache",
        Metadata={"one": "1"}, Tagging="k=v&x=y%20z",
    )  # fmt: skip
    got = s3.get_object(Bucket=bucket, Key="a/ü +%&.bin", ChecksumMode="ENABLED")
    assert got["Body"].read() == body
    assert got["ETag"] == put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == ("text/x-test", "no-cache", {"one": "1"})
    assert got["ChecksumCRC32"] == put["ChecksumCRC32"]
    assert got["ServerSideEncryption"] == "AES256"
    tags = s3.get_object_tagging(Bucket=bucket, Key="a/ü +%&.bin")["TagSet"]
    assert tags == [{"Key": "k", "Value": "v"}, {"Key": "x", "Value": "y z"}]


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
    ],
)
def test_ranges(s3: Any, bucket: str, text: str, expected: bytes, shown: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    got = s3.get_object(Bucket=bucket, Key="k", Range=text)
    assert got["Body"].read() == expected
    assert got["ContentRange"] == shown
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_a_range_beyond_the_end_is_not_satisfiable(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", Range="bytes=10-")
    assert code(error) == ("InvalidRange", 416)


def test_conditions(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["ETag"]
    assert s3.get_object(Bucket=bucket, Key="k", IfMatch=etag)["Body"].read() == b"one"
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", IfNoneMatch=etag)
    assert code(error) == ("304", 304)
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k", IfMatch='"other"')
    assert code(error) == ("PreconditionFailed", 412)
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"two", IfNoneMatch="*")
    assert code(error) == ("PreconditionFailed", 412)
    s3.put_object(Bucket=bucket, Key="k", Body=b"two", IfMatch=etag)
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"three", IfMatch=etag)
    assert code(error) == ("PreconditionFailed", 412)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"two"


def test_what_is_missing_is_told_apart(s3: Any, bucket: str, name: str) -> None:
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="missing")
    assert code(error) == ("NoSuchKey", 404)
    with pytest.raises(ClientError) as error:
        s3.head_object(Bucket=bucket, Key="missing")
    assert code(error) == ("404", 404)
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=f"{name}-missing", Key="k")
    assert code(error) == ("NoSuchBucket", 404)
    s3.delete_object(Bucket=bucket, Key="missing")


def test_multipart_uploads_keep_every_byte(s3: Any, bucket: str) -> None:
    body = os.urandom((12 << 20) + 17)
    config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.upload_fileobj(io.BytesIO(body), bucket, "big", Config=config)
    got = s3.get_object(Bucket=bucket, Key="big")
    assert got["ETag"].endswith('-3"')
    assert got["Body"].read() == body
    assert (
        s3.get_object(Bucket=bucket, Key="big", Range="bytes=5242870-5242889")["Body"].read() == body[5242870:5242890]
    )
    second = s3.get_object(Bucket=bucket, Key="big", PartNumber=2)
    assert (second["PartsCount"], second["Body"].read()) == (3, body[5 << 20 : 10 << 20])


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_a_multipart_object_has_the_checksum_of_the_whole(s3: Any, bucket: str, algorithm: str) -> None:
    body = os.urandom((5 << 20) + 777)
    where = {"Bucket": bucket, "Key": "k"}
    whole = s3.put_object(**where, Body=body, ChecksumAlgorithm=algorithm)[f"Checksum{algorithm}"]
    s3.put_object(Bucket=bucket, Key="source", Body=body[5 << 20 :])
    upload = s3.create_multipart_upload(**where, ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT")["UploadId"]
    part = {**where, "UploadId": upload}
    one = s3.upload_part(**part, PartNumber=1, Body=body[: 5 << 20], ChecksumAlgorithm=algorithm)["ETag"]
    two = s3.upload_part_copy(**part, PartNumber=2, CopySource=f"{bucket}/source")["CopyPartResult"]["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": one}, {"PartNumber": 2, "ETag": two}]}
    wrong = base64.b64encode(bytes(255 - b for b in base64.b64decode(whole))).decode()
    with pytest.raises(ClientError, match="BadDigest"):
        s3.complete_multipart_upload(**part, MultipartUpload=parts, **{f"Checksum{algorithm}": wrong})
    made = s3.complete_multipart_upload(**part, MultipartUpload=parts, **{f"Checksum{algorithm}": whole})
    assert (made[f"Checksum{algorithm}"], made["ChecksumType"]) == (whole, "FULL_OBJECT")
    assert s3.get_object(**where, ChecksumMode="ENABLED")[f"Checksum{algorithm}"] == whole


def test_multipart_parts_are_listed_copied_replaced_and_aborted(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=b"x" * (6 << 20))
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", Metadata={"a": "b"})["UploadId"]
    where = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    s3.upload_part(**where, PartNumber=1, Body=b"old" * (2 << 20))
    first = s3.upload_part(**where, PartNumber=1, Body=b"n" * (5 << 20))["ETag"]
    source = {"Bucket": bucket, "Key": "source"}
    second = s3.upload_part_copy(**where, PartNumber=2, CopySource=source, CopySourceRange="bytes=0-99")[
        "CopyPartResult"
    ]["ETag"]
    assert [p["Size"] for p in s3.list_parts(**where)["Parts"]] == [5 << 20, 100]
    assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    parts = [{"PartNumber": 1, "ETag": first}, {"PartNumber": 2, "ETag": second}]
    with pytest.raises(ClientError) as error:
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts[::-1]})
    assert code(error) == ("InvalidPartOrder", 400)
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"n" * (5 << 20) + b"x" * 100
    assert got["Metadata"] == {"a": "b"}
    other = s3.create_multipart_upload(Bucket=bucket, Key="gone")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="gone", UploadId=other, PartNumber=1, Body=b"abc")
    s3.abort_multipart_upload(Bucket=bucket, Key="gone", UploadId=other)
    with pytest.raises(ClientError) as error:
        s3.list_parts(Bucket=bucket, Key="gone", UploadId=other)
    assert code(error) == ("NoSuchUpload", 404)


def test_a_small_part_in_the_middle_is_too_small(s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    where = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    parts = [{"PartNumber": n, "ETag": s3.upload_part(**where, PartNumber=n, Body=b"abc")["ETag"]} for n in (1, 2)]
    with pytest.raises(ClientError) as error:
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert code(error) == ("EntityTooSmall", 400)


def test_copies_share_bytes_and_choose_metadata(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"abc", Metadata={"x": "1"}, ContentType="text/a")
    source = {"Bucket": bucket, "Key": "a"}
    s3.copy_object(Bucket=bucket, Key="b", CopySource=source)
    s3.copy_object(Bucket=bucket, Key="c", CopySource=source, MetadataDirective="REPLACE", Metadata={"y": "2"})
    s3.delete_object(Bucket=bucket, Key="a")
    b, c = s3.get_object(Bucket=bucket, Key="b"), s3.get_object(Bucket=bucket, Key="c")
    assert (b["Body"].read(), b["Metadata"], b["ContentType"]) == (b"abc", {"x": "1"}, "text/a")
    assert (c["Body"].read(), c["Metadata"]) == (b"abc", {"y": "2"})
    with pytest.raises(ClientError) as error:
        s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "b"})
    assert code(error) == ("InvalidRequest", 400)


def test_versions(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"2")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="k")
    assert marker["DeleteMarker"]
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="k")
    assert code(error) == ("NoSuchKey", 404)
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=first)["Body"].read() == b"1"
    listed = s3.list_object_versions(Bucket=bucket)
    assert [v["VersionId"] for v in listed["Versions"]] == [second, first]
    assert [m["VersionId"] for m in listed["DeleteMarkers"]] == [marker["VersionId"]]
    s3.delete_object(Bucket=bucket, Key="k", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"2"


def test_listing_pages_end_and_hold_every_key_once(s3: Any, bucket: str) -> None:
    keys = sorted([f"d{i % 7}/k{i:03d}" for i in range(60)] + ["top-1", "top-2", "z/é ü/x"])
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    for operation in ("list_objects_v2", "list_objects"):
        pages = list(s3.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": 7}))
        assert [o["Key"] for p in pages for o in p.get("Contents", [])] == keys
        pages = list(
            s3.get_paginator(operation).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 2})
        )
        assert [c["Prefix"] for p in pages for c in p.get("CommonPrefixes", [])] == [
            *(f"d{i}/" for i in range(7)),
            "z/",
        ]
        assert [o["Key"] for p in pages for o in p.get("Contents", [])] == ["top-1", "top-2"]
    assert s3.list_objects_v2(Bucket=bucket, Prefix="d3/", StartAfter="d3/k010")["KeyCount"] == 7


def test_batch_delete_and_bucket_removal(s3: Any, bucket: str) -> None:
    for key in ("a", "b"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    with pytest.raises(ClientError) as error:
        s3.delete_bucket(Bucket=bucket)
    assert code(error) == ("BucketNotEmpty", 409)
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "b"}, {"Key": "never"}]})
    assert [d["Key"] for d in gone["Deleted"]] == ["a", "b", "never"]
    s3.delete_bucket(Bucket=bucket)
    with pytest.raises(ClientError) as error:
        s3.head_bucket(Bucket=bucket)
    assert code(error) == ("404", 404)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums_are_verified_and_kept(s3: Any, bucket: str, algorithm: str) -> None:
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ChecksumAlgorithm=algorithm)
    value = put[f"Checksum{algorithm}"]
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[f"Checksum{algorithm}"] == value
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"other", **{f"Checksum{algorithm}": value})
    assert code(error) == ("BadDigest", 400)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"hello"


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
def test_presigned_urls_work_without_credentials(platform: Platform, bucket: str, signature: str) -> None:
    s3 = platform.client("s3", config=Config(signature_version=signature))
    put = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "p q"}, ExpiresIn=60)
    urllib.request.urlopen(
        urllib.request.Request(put, data=b"data", method="PUT", headers={"Content-Type": ""})
    ).close()
    get = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "p q"}, ExpiresIn=60)
    with urllib.request.urlopen(get) as answer:
        assert answer.read() == b"data"
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(get.replace("p%20q", "other"))
    assert error.value.code == 403
    assert b"SignatureDoesNotMatch" in error.value.read()


def test_without_credentials_nothing_is_shown(platform: Platform, bucket: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(f"{platform.endpoint}/{bucket}/k")
    assert (error.value.code, b"AccessDenied" in error.value.read()) == (403, True)


def test_virtual_hosts_name_buckets(platform: Platform, bucket: str) -> None:
    s3 = platform.client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"virtual")
    signed = platform.client(
        "s3", endpoint_url="http://s3.us-east-1.amazonaws.com", config=Config(s3={"addressing_style": "virtual"})
    )
    url = signed.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    host = f"{bucket}.s3.us-east-1.amazonaws.com"
    request = urllib.request.Request(
        url.replace(f"http://{host}", platform.endpoint).replace(f"http://{bucket}.s3.amazonaws.com", platform.endpoint)
    )
    request.add_header("Host", url.split("/")[2])
    with urllib.request.urlopen(request) as answer:
        assert answer.read() == b"virtual"


def test_expected_owner(s3: Any, bucket: str) -> None:
    assert s3.head_bucket(Bucket=bucket, ExpectedBucketOwner="000000000000")
    with pytest.raises(ClientError) as error:
        s3.list_objects_v2(Bucket=bucket, ExpectedBucketOwner="111111111111")
    assert code(error) == ("AccessDenied", 403)


def test_configuration_documents_come_back(s3: Any, bucket: str) -> None:
    with pytest.raises(ClientError) as error:
        s3.get_bucket_policy(Bucket=bucket)
    assert code(error) == ("NoSuchBucketPolicy", 404)
    policy = '{"Version":"2012-10-17","Statement":[]}'
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == policy
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == [rule]
    s3.delete_bucket_cors(Bucket=bucket)
    with pytest.raises(ClientError) as error:
        s3.get_bucket_cors(Bucket=bucket)
    assert code(error) == ("NoSuchCORSConfiguration", 404)
    default = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert default["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]["BlockPublicAcls"]


_keys = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"), min_size=1, max_size=20
).filter(lambda k: len(k.encode()) <= 1024 and all(ord(c) > 31 for c in k) and k not in (".", ".."))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=_keys, body=st.binary(max_size=100))
def test_any_key_holds_any_bytes(sqlite_platform: Platform, key: str, body: bytes) -> None:
    s3 = sqlite_platform.client("s3")
    s3.create_bucket(Bucket="any-key")
    s3.put_object(Bucket="any-key", Key=key, Body=body)
    assert s3.get_object(Bucket="any-key", Key=key)["Body"].read() == body
    assert key in [o["Key"] for o in s3.list_objects_v2(Bucket="any-key", Prefix=key)["Contents"]]
    s3.delete_object(Bucket="any-key", Key=key)


def test_writers_of_one_key_do_not_trip_over_each_other(platform: Platform, bucket: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    clients = [platform.client("s3") for _ in range(8)]

    def write(number: int) -> int:
        put = clients[number % 8].put_object(Bucket=bucket, Key="same", Body=f"{number}".encode())
        return int(put["ResponseMetadata"]["HTTPStatusCode"])

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(write, range(64))) == {200}
    assert int(clients[0].get_object(Bucket=bucket, Key="same")["Body"].read()) in range(64)
    assert len(clients[0].list_object_versions(Bucket=bucket)["Versions"]) == 1


def test_buckets_made_at_the_same_time_are_one(platform: Platform, name: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    clients = [platform.client("s3") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda c: c.create_bucket(Bucket=f"{name}-race"), clients))
    assert {a["ResponseMetadata"]["HTTPStatusCode"] for a in answers} == {200}


def test_unfinished_uploads_are_listed_by_page_and_by_group(platform: Platform, name: str) -> None:
    s3 = platform.client("s3")
    s3.create_bucket(Bucket=name)
    made = [
        (key, s3.create_multipart_upload(Bucket=name, Key=key)["UploadId"])
        for key in ("b", "a/1", "a/2", "b", "c", "a/1", "b")
    ]
    wanted = sorted(made, key=lambda pair: pair[0])  # stable: those of a key by time

    def listed(**options: object) -> tuple[list[tuple[str, str]], list[str]]:
        pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=name, **options)
        uploads, groups = [], []
        for page in pages:
            shown = len(page.get("Uploads", [])) + len(page.get("CommonPrefixes", []))
            assert shown <= page["MaxUploads"]
            uploads += [(u["Key"], u["UploadId"]) for u in page.get("Uploads", [])]
            groups += [p["Prefix"] for p in page.get("CommonPrefixes", [])]
        return uploads, groups

    for size in (1, 2, 3, 1000):
        assert listed(MaxUploads=size) == (wanted, [])
        assert listed(MaxUploads=size, Delimiter="/") == ([u for u in wanted if "/" not in u[0]], ["a/"])
        assert listed(MaxUploads=size, Prefix="a/") == ([u for u in wanted if "/" in u[0]], [])
    assert s3.list_multipart_uploads(Bucket=name, MaxUploads=0)["IsTruncated"] is False
    with pytest.raises(ClientError, match="InvalidArgument"):
        s3.list_multipart_uploads(Bucket=name, MaxUploads=-1)
