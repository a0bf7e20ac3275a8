"""Repositories through boto3."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import urllib3

from tests import images
from tests.platform import Platform, started
from tests.services.test_ssm import code


def test_repositories(platform: Platform, name: str) -> None:
    ecr = platform.client("ecr")
    tags = [{"Key": "team", "Value": "a"}]
    made = ecr.create_repository(repositoryName=f"{name}/app", tags=tags)["repository"]
    assert made["repositoryUri"] == f"localhost:{platform.port}/{name}/app"
    assert (made["imageTagMutability"], made["imageScanningConfiguration"]) == ("MUTABLE", {"scanOnPush": False})
    error, words = code(ecr.create_repository, repositoryName=f"{name}/app")
    assert error == "RepositoryAlreadyExistsException"
    assert words == f"The repository with name '{name}/app' already exists in the registry with id '000000000000'"
    (found,) = ecr.describe_repositories(repositoryNames=[f"{name}/app"])["repositories"]
    assert found["repositoryArn"] == made["repositoryArn"] and found["createdAt"] == made["createdAt"]
    assert f"{name}/app" in [r["repositoryName"] for r in ecr.describe_repositories()["repositories"]]
    ecr.tag_resource(resourceArn=made["repositoryArn"], tags=[{"Key": "stage", "Value": "b"}])
    ecr.untag_resource(resourceArn=made["repositoryArn"], tagKeys=["team"])
    found = ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])
    assert found["tags"] == [{"Key": "stage", "Value": "b"}]
    ecr.delete_repository(repositoryName=f"{name}/app")
    assert code(ecr.describe_repositories, repositoryNames=[f"{name}/app"])[0] == "RepositoryNotFoundException"


def test_settings_and_policies(platform: Platform, name: str) -> None:
    ecr = platform.client("ecr")
    ecr.create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
    assert code(ecr.get_repository_policy, repositoryName=name)[0] == "RepositoryPolicyNotFoundException"
    assert code(ecr.get_lifecycle_policy, repositoryName=name)[0] == "LifecyclePolicyNotFoundException"
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    ecr.set_repository_policy(repositoryName=name, policyText=policy)
    selection = {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 3}
    lifecycle = json.dumps({"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]})
    ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=lifecycle)
    assert ecr.get_repository_policy(repositoryName=name)["policyText"] == policy
    assert ecr.delete_lifecycle_policy(repositoryName=name)["lifecyclePolicyText"] == lifecycle
    assert ecr.get_repository_policy(repositoryName=name)["policyText"] == policy
    assert code(ecr.set_repository_policy, repositoryName=name, policyText="{")[0] == "InvalidParameterException"
    ecr.put_image_tag_mutability(repositoryName=name, imageTagMutability="MUTABLE")
    ecr.put_image_scanning_configuration(repositoryName=name, imageScanningConfiguration={"scanOnPush": True})
    (found,) = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    assert found["imageTagMutability"] == "MUTABLE" and found["imageScanningConfiguration"]["scanOnPush"]


def login(platform: Platform) -> tuple[str, str]:
    """User and password for tools that push, as ``aws ecr get-login-password`` has them."""
    (found,) = platform.client("ecr").get_authorization_token()["authorizationData"]
    user, _, password = base64.b64decode(found["authorizationToken"]).decode().partition(":")
    return user, password


def test_a_sessions_token_is_no_password(platform: Platform) -> None:
    """Presigned URLs show the token of the session that signed them; it must not open the registry."""
    session = json.loads((platform.home / "run" / "session.json").read_text())
    forged = base64.b64encode(json.dumps({"payload": session["SessionToken"], "region": "us-east-1"}).encode()).decode()
    for password in (forged, session["SessionToken"], "[" * 10_000):
        headers = urllib3.make_headers(basic_auth=f"AWS:{password}")
        answer = urllib3.PoolManager().request("GET", f"http://127.0.0.1:{platform.port}/v2/", headers=headers)
        assert answer.status == 401
    headers = urllib3.make_headers(basic_auth=":".join(login(platform)))
    assert urllib3.PoolManager().request("GET", f"http://127.0.0.1:{platform.port}/v2/", headers=headers).status == 200


class Pusher:
    """The registry's API by hand."""

    def __init__(self, platform: Platform, repository: str):
        self.root = f"http://127.0.0.1:{platform.port}"
        self.base = f"/v2/{repository}"
        self.pool = urllib3.PoolManager()
        self.headers = urllib3.make_headers(basic_auth=":".join(login(platform)))

    def ask(self, method: str, path: str, data: bytes | None = None, **headers: str) -> urllib3.BaseHTTPResponse:
        """One request."""
        url = self.root + (path if path.startswith("/v2/") else self.base + path)
        return self.pool.request(method, url, body=data, headers={**self.headers, **headers})

    def upload(self, data: bytes) -> str:
        """A blob, in two pieces."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        begun = self.ask("POST", "/blobs/uploads/")
        assert begun.status == 202 and begun.headers["Docker-Upload-UUID"]
        half = len(data) // 2
        sent = self.ask("PATCH", begun.headers["Location"], data=data[:half])
        assert sent.status == 202 and sent.headers["Range"] == f"0-{half - 1}"
        ended = self.ask("PUT", f"{sent.headers['Location']}?digest={digest}", data=data[half:])
        assert ended.status == 201 and ended.headers["Docker-Content-Digest"] == digest
        return digest


def pushed(platform: Platform, repository: str, tag: str = "latest", text: str = "x") -> tuple[str, bytes]:
    """An image with one small layer; its digest and its manifest."""
    pusher = Pusher(platform, repository)
    data = images.layer({"file": text.encode()})
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": [text]}}).encode()
    manifest = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": pusher.upload(config), "size": len(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": pusher.upload(data), "size": len(data)}],
    }  # fmt: skip
    packed = json.dumps(manifest).encode()
    answer = pusher.ask("PUT", f"/manifests/{tag}", data=packed, **{"Content-Type": str(manifest["mediaType"])})
    assert answer.status == 201, answer.data
    return answer.headers["Docker-Content-Digest"], packed


def test_images_are_pushed_pulled_tagged_and_deleted(platform: Platform, name: str) -> None:
    ecr = platform.client("ecr")
    ecr.create_repository(repositoryName=f"{name}/app")
    digest, manifest = pushed(platform, f"{name}/app", "v1")
    pusher = Pusher(platform, f"{name}/app")
    assert pusher.ask("GET", "/v2/").status == 200
    assert pusher.ask("GET", "/tags/list").json() == {"name": f"{name}/app", "tags": ["v1"]}
    for reference in ("v1", digest):
        found = pusher.ask("GET", f"/manifests/{reference}")
        assert found.data == manifest and found.headers["Docker-Content-Digest"] == digest
        assert pusher.ask("HEAD", f"/manifests/{reference}").headers["Content-Length"] == str(len(manifest))
    layer = json.loads(manifest)["layers"][0]
    assert hashlib.sha256(pusher.ask("GET", f"/blobs/{layer['digest']}").data).hexdigest() == layer["digest"][7:]
    (detail,) = ecr.describe_images(repositoryName=f"{name}/app")["imageDetails"]
    assert (detail["imageDigest"], detail["imageTags"], detail["imageSizeInBytes"]) == (digest, ["v1"], layer["size"])
    (image,) = ecr.batch_get_image(repositoryName=f"{name}/app", imageIds=[{"imageTag": "v1"}])["images"]
    ecr.put_image(repositoryName=f"{name}/app", imageManifest=image["imageManifest"], imageTag="prod")
    ids = ecr.list_images(repositoryName=f"{name}/app")["imageIds"]
    assert ids == [{"imageDigest": digest, "imageTag": t} for t in ("v1", "prod")]
    other, _ = pushed(platform, f"{name}/app", "v1", "another")
    assert (
        ecr.describe_images(repositoryName=f"{name}/app", imageIds=[{"imageTag": "v1"}])["imageDetails"][0][
            "imageDigest"
        ]
        == other
    )
    layers = ecr.batch_check_layer_availability(
        repositoryName=f"{name}/app", layerDigests=[layer["digest"], "sha256:" + "0" * 64]
    )
    assert (
        layers["layers"][0]["layerAvailability"] == "AVAILABLE"
        and layers["failures"][0]["failureCode"] == "MissingLayerDigest"
    )
    assert code(ecr.delete_repository, repositoryName=f"{name}/app")[0] == "RepositoryNotEmptyException"
    gone = ecr.batch_delete_image(repositoryName=f"{name}/app", imageIds=[{"imageTag": "prod"}, {"imageTag": "none"}])
    assert gone["imageIds"] == [{"imageDigest": digest, "imageTag": "prod"}]
    assert gone["failures"][0]["failureCode"] == "ImageNotFound"
    error, words = code(ecr.describe_images, repositoryName=f"{name}/app", imageIds=[{"imageTag": "prod"}])
    assert error == "ImageNotFoundException" and "imageTag:'prod'" in words
    ecr.delete_repository(repositoryName=f"{name}/app", force=True)


def test_what_a_registry_refuses(platform: Platform, name: str) -> None:
    ecr = platform.client("ecr")
    ecr.create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
    root = f"http://127.0.0.1:{platform.port}/v2"
    stranger = urllib3.request("GET", f"{root}/{name}/tags/list")
    assert stranger.status == 401 and stranger.headers["WWW-Authenticate"].startswith("Basic ")
    assert urllib3.request("GET", f"{root}/", headers=urllib3.make_headers(basic_auth="AWS:wrong")).status == 401
    pusher = Pusher(platform, name)
    absent = Pusher(platform, f"{name}-absent").ask("POST", "/blobs/uploads/")
    assert absent.status == 404 and absent.json()["errors"][0]["code"] == "NAME_UNKNOWN"
    assert "aws ecr create-repository" in absent.json()["errors"][0]["message"]
    begun = pusher.ask("POST", "/blobs/uploads/").headers["Location"]
    wrong = pusher.ask("PUT", f"{begun}?digest=sha256:{'0' * 64}", data=b"something else")
    assert wrong.status == 400 and wrong.json()["errors"][0]["code"] == "DIGEST_INVALID"
    assert pusher.ask("PATCH", begun, data=b"x").status == 404
    for path in ("/blobs/uploads/../../../../etc/passwd", "/blobs/sha256:../../x", f"/blobs/sha256:{'0' * 64}"):
        assert 400 <= pusher.ask("GET", path).status < 405
    empty = {"schemaVersion": 2, "config": {"digest": f"sha256:{'0' * 64}"}, "layers": []}
    for manifest, reason in ((b"{", "MANIFEST_INVALID"), (json.dumps(empty).encode(), "MANIFEST_BLOB_UNKNOWN")):
        refused = pusher.ask("PUT", "/manifests/v1", data=manifest)
        assert refused.status == 400 and refused.json()["errors"][0]["code"] == reason
    pushed(platform, name, "v1")
    _, manifest = pushed(platform, name, "v2", "other")
    error, words = code(ecr.put_image, repositoryName=name, imageManifest=manifest.decode(), imageTag="v1")
    assert error == "ImageTagAlreadyExistsException" and "immutable" in words


def test_accounts_do_not_see_each_others_layers(home: Path) -> None:
    """Who knows the digest of a layer of another account can neither read it nor build on it."""
    with started(home / "h", "--open") as platform:
        platform.client("ecr").create_repository(repositoryName="app")
        _, manifest = pushed(platform, "app")
        digest = json.loads(manifest)["layers"][0]["digest"]
        assert Pusher(platform, "app").ask("GET", f"/blobs/{digest}").status == 200
        other = platform.client("ecr", ("111111111111", "any"), aws_session_token=None)
        other.create_repository(repositoryName="app")
        stranger = Pusher(platform, "app")
        stranger.headers = {"Host": "111111111111.dkr.ecr.us-east-1.amazonaws.com"}
        assert stranger.ask("GET", f"/blobs/{digest}").status == 404
        assert stranger.ask("POST", f"/blobs/uploads/?mount={digest}").status == 202
        refused = stranger.ask("PUT", "/manifests/latest", data=manifest)
        assert refused.status == 400 and refused.json()["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_pushes_and_pulls(platform: Platform, name: str, tmp_path: Path) -> None:
    uri = platform.client("ecr").create_repository(repositoryName=name)["repository"]["repositoryUri"]
    made = images.layout(tmp_path / "image", [images.layer({"a": b"1"}), images.layer({"b": b"2"})], Cmd=["serve"])
    user, password = login(platform)
    there = f"docker://{uri}:v1"
    subprocess.run(
        ["skopeo", "copy", "-q", "--dest-tls-verify=false", "--dest-creds", f"{user}:{password}", f"oci:{made}", there],
        check=True,
    )  # fmt: skip
    subprocess.run(
        ["skopeo", "copy", "-q", "--src-tls-verify=false", "--src-creds", f"{user}:{password}", there, f"oci:{tmp_path / 'back'}"],
        check=True,
    )  # fmt: skip
    digest = json.loads((made / "index.json").read_text())["manifests"][0]["digest"]
    assert json.loads((tmp_path / "back" / "index.json").read_text())["manifests"][0]["digest"] == digest
