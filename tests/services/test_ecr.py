"""Repositories through boto3."""

from __future__ import annotations

import json

from tests.platform import Platform
from tests.services.test_ssm import code


def test_repositories(platform: Platform, name: str) -> None:
    ecr = platform.client("ecr")
    tags = [{"Key": "team", "Value": "a"}]
    made = ecr.create_repository(repositoryName=f"{name}/app", tags=tags)["repository"]
    assert made["repositoryUri"] == f"000000000000.dkr.ecr.us-east-1.amazonaws.com/{name}/app"
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


def test_there_are_no_images(platform: Platform, name: str) -> None:
    ecr = platform.client("ecr")
    ecr.create_repository(repositoryName=name)
    assert ecr.list_images(repositoryName=name)["imageIds"] == []
    error, words = code(ecr.describe_images, repositoryName=name, imageIds=[{"imageTag": "latest"}])
    assert error == "ImageNotFoundException" and "imageTag:'latest'" in words
    error, words = code(ecr.get_authorization_token)
    assert error == "UnknownOperationException" and "GetAuthorizationToken" in words
