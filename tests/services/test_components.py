"""Inference components: several models on the instances of one endpoint, through boto3."""

from __future__ import annotations

import datetime as dt
import json
import threading
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.jobs import IMAGE, ROLE, messages, settled
from tests.platform import Platform, until

from .test_endpoints import pack, refused

GIB = 1024
SCRIPT = b"""
import json
def model_fn(folder): return open(folder + "/weights").read()
def transform_fn(model, body, content_type, accept): return json.dumps([model, body]), "application/json"
"""


def host(platform: Platform, name: str, count: int = 1, **more: Any) -> None:
    """An endpoint for components."""
    sagemaker = platform.client("sagemaker")
    variant = {
        "VariantName": "AllTraffic", "InstanceType": "ml.m5.large", "InitialInstanceCount": count, **more,
    }  # fmt: skip
    sagemaker.create_endpoint_config(EndpointConfigName=name, ExecutionRoleArn=ROLE, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    found = settled(platform, name)
    assert found["EndpointStatus"] == "InService", found.get("FailureReason")
    assert found["ProductionVariants"][0]["CurrentInstanceCount"] == count


def archive(platform: Platform, name: str, weights: str) -> str:
    platform.client("s3").create_bucket(Bucket=name)
    return pack(
        platform, name, f"{weights}.tar.gz", weights=weights.encode(), code__inference_DOT_py=SCRIPT
    )  # fmt: skip


def container(data: str) -> dict[str, Any]:
    return {"Image": IMAGE, "ArtifactUrl": data, "Environment": {"SAGEMAKER_PROGRAM": "inference.py"}}


def specification(data: str, memory: int = 1 * GIB, **needs: Any) -> dict[str, Any]:
    return {
        "Container": container(data), "ComputeResourceRequirements": {"MinMemoryRequiredInMb": memory, **needs},
    }  # fmt: skip


def create(platform: Platform, endpoint: str, name: str, spec: dict[str, Any], copies: int = 1) -> dict[str, Any]:
    platform.client("sagemaker").create_inference_component(
        InferenceComponentName=name, EndpointName=endpoint, VariantName="AllTraffic", Specification=spec,
        RuntimeConfig={"CopyCount": copies},
    )  # fmt: skip
    return ended(platform, name)


def ended(platform: Platform, name: str) -> dict[str, Any]:
    """A component's description when no transition is under way."""
    sagemaker = platform.client("sagemaker")
    while True:
        found: dict[str, Any] = sagemaker.describe_inference_component(InferenceComponentName=name)
        if found["InferenceComponentStatus"] not in ("Creating", "Updating"):
            return found


def ask(platform: Platform, endpoint: str, component: str) -> list[str]:
    answer = platform.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=endpoint, InferenceComponentName=component, Body=b"x", ContentType="text/plain"
    )
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    found: list[str] = json.loads(answer["Body"].read())
    return found


def remove(platform: Platform, endpoint: str, *components: str) -> None:
    sagemaker = platform.client("sagemaker")
    for name in components:
        sagemaker.delete_inference_component(InferenceComponentName=name)

    def gone() -> bool:
        return not sagemaker.list_inference_components(EndpointNameEquals=endpoint)["InferenceComponents"]

    until(gone, 30, "the components are gone")
    sagemaker.delete_endpoint(EndpointName=endpoint)


def test_models_share_an_endpoint(platform: Platform, name: str, model_data: str) -> None:
    sagemaker = platform.client("sagemaker")
    host(platform, name, 2)
    one = create(platform, name, f"{name}-one", specification(archive(platform, name, "first")), copies=2)
    assert one["RuntimeConfig"] == {"DesiredCopyCount": 2, "CurrentCopyCount": 2}
    assert one["Specification"]["Container"]["DeployedImage"]["SpecifiedImage"] == IMAGE
    sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE, "ModelDataUrl": model_data}
    )
    by_model = {"ModelName": name, "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 512}}
    two = create(platform, name, f"{name}-two", by_model)
    assert two["InferenceComponentStatus"] == "InService", two
    assert two["Specification"]["ModelName"] == name
    assert ask(platform, name, f"{name}-one") == ["first", "x"]
    runtime = platform.client("sagemaker-runtime")
    row = ",".join(["1"] * 30)
    answer = runtime.invoke_endpoint(
        EndpointName=name, InferenceComponentName=f"{name}-two", Body=row, ContentType="text/csv"
    )
    assert 0 <= float(answer["Body"].read()) <= 1
    listed = sagemaker.list_inference_components(EndpointNameEquals=name, SortBy="Name", SortOrder="Ascending")
    assert [c["InferenceComponentName"] for c in listed["InferenceComponents"]] == [f"{name}-one", f"{name}-two"]
    group = f"/aws/sagemaker/InferenceComponents/{name}-one"
    until(lambda: messages(platform, group, "AllTraffic/"), 10, "the component's log")

    errors = [
        refused(runtime.invoke_endpoint, EndpointName=name, Body=b"x"),
        refused(runtime.invoke_endpoint, EndpointName=name, Body=b"x", InferenceComponentName="other"),
    ]
    assert [e["Error"]["Code"] for e in errors] == ["ValidationError"] * 2
    assert "Inference Component Name header is required" in errors[0]["Error"]["Message"]
    assert "Inference Component other" in errors[1]["Error"]["Message"]
    with pytest.raises(ClientError, match="while it has inference components"):
        sagemaker.delete_endpoint(EndpointName=name)
    with pytest.raises(ClientError, match="too small"):
        sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 1}]
        )

    dimensions = [{"Name": "InferenceComponentName", "Value": f"{name}-one"}]

    def invocations() -> float:
        found = platform.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker", MetricName="InvocationsPerCopy", Dimensions=dimensions, Period=60,
            StartTime=dt.datetime.now(dt.UTC) - dt.timedelta(minutes=3),
            EndTime=dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1), Statistics=["Sum"],
        )  # fmt: skip
        return float(sum(p["Sum"] for p in found["Datapoints"]))

    until(lambda: invocations() == 0.5, 10, "one request of two copies is counted")
    remove(platform, name, f"{name}-one", f"{name}-two")


def test_copies_need_room(platform: Platform, name: str) -> None:
    sagemaker = platform.client("sagemaker")
    host(platform, name)  # 2 cores, 8 GiB
    data = archive(platform, name, "w")
    large = create(platform, name, f"{name}-large", specification(data, 9 * GIB))
    assert large["InferenceComponentStatus"] == "Failed"
    assert "room for 0 of 1 copies" in large["FailureReason"]
    sagemaker.delete_inference_component(InferenceComponentName=f"{name}-large")
    cores = create(platform, name, f"{name}-a", specification(data, 1 * GIB, NumberOfCpuCoresRequired=1.5))
    assert cores["InferenceComponentStatus"] == "InService", cores
    other = create(platform, name, f"{name}-b", specification(data, 1 * GIB, NumberOfCpuCoresRequired=1.0))
    assert other["InferenceComponentStatus"] == "Failed"
    gpu = create(platform, name, f"{name}-g", specification(data, 1 * GIB, NumberOfAcceleratorDevicesRequired=1))
    assert "accelerators" in gpu["FailureReason"]
    # more copies than fit: those that fit serve, and another instance takes the rest
    sagemaker.update_inference_component_runtime_config(
        InferenceComponentName=f"{name}-a", DesiredRuntimeConfig={"CopyCount": 2}
    )
    found = ended(platform, name + "-a")
    assert found["RuntimeConfig"] == {"DesiredCopyCount": 2, "CurrentCopyCount": 1}
    assert "room for 1 of 2 copies" in found["FailureReason"]
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    )
    settled(platform, name)
    until(lambda: ended(platform, name + "-a")["RuntimeConfig"]["CurrentCopyCount"] == 2, 20, "the second copy")
    assert "FailureReason" not in ended(platform, name + "-a")
    remove(platform, name, *(f"{name}-{c}" for c in "abg"))


def test_instances_come_and_go_with_copies(platform: Platform, name: str) -> None:
    sagemaker = platform.client("sagemaker")
    managed = {"Status": "ENABLED", "MinInstanceCount": 1, "MaxInstanceCount": 3}
    host(platform, name, ManagedInstanceScaling=managed)

    def instances() -> int:
        found = settled(platform, name)["ProductionVariants"][0]
        assert found["ManagedInstanceScaling"] == managed
        return int(found["CurrentInstanceCount"])

    found = create(platform, name, name, specification(archive(platform, name, "w"), 6 * GIB), copies=3)
    assert found["RuntimeConfig"]["CurrentCopyCount"] == 3, found
    assert instances() == 3
    sagemaker.update_inference_component_runtime_config(
        InferenceComponentName=name, DesiredRuntimeConfig={"CopyCount": 0}
    )
    assert ended(platform, name)["RuntimeConfig"] == {"DesiredCopyCount": 0, "CurrentCopyCount": 0}
    until(lambda: instances() == 1, 20, "instances without copies go")
    runtime = platform.client("sagemaker-runtime")
    error = refused(runtime.invoke_endpoint, EndpointName=name, Body=b"x", InferenceComponentName=name)
    assert error["Error"]["Message"].startswith("Inference Component has no capacity to process this request.")

    scaling = platform.client("application-autoscaling")
    target = {
        "ServiceNamespace": "sagemaker", "ResourceId": f"inference-component/{name}",
        "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
    }  # fmt: skip
    scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=2)
    tracking = {
        "TargetValue": 5.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerInferenceComponentInvocationsPerCopy"},
    }
    made = scaling.put_scaling_policy(
        **target, PolicyName="p", PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=tracking
    )
    assert len(made["Alarms"]) == 2
    wrong = {
        **tracking,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    }
    with pytest.raises(ClientError, match="is not a metric of"):
        scaling.put_scaling_policy(
            **target, PolicyName="q", PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=wrong
        )
    scaling.register_scalable_target(**target, MinCapacity=1)
    until(lambda: ended(platform, name)["RuntimeConfig"]["CurrentCopyCount"] == 1, 20, "the target's least capacity")
    assert ask(platform, name, name) == ["w", "x"]

    def failures() -> bool:
        found = platform.client("cloudwatch").list_metrics(
            Namespace="AWS/SageMaker", MetricName="NoCapacityInvocationFailures",
            Dimensions=[{"Name": "InferenceComponentName", "Value": name}],
        )  # fmt: skip
        return bool(found["Metrics"])

    until(failures, 10, "the refused request is counted")
    remove(platform, name, name)
    found = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"]])
    until(
        lambda: (
            not scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[target["ResourceId"]])[
                "ScalableTargets"
            ]
        ),
        20,
        "the target is gone with its component",
    )


@pytest.mark.parametrize("rolling", [False, True])
def test_an_update_drops_no_request(platform: Platform, name: str, rolling: bool) -> None:
    sagemaker = platform.client("sagemaker")
    host(platform, name)
    create(platform, name, name, specification(archive(platform, name, "old")), copies=2)
    answers: list[str] = []
    failed: list[str] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            try:
                answers.append(ask(platform, name, name)[0])
            except (BotoCoreError, ClientError) as error:
                failed.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        config = {
            "RollingUpdatePolicy": {
                "MaximumBatchSize": {"Type": "COPY_COUNT", "Value": 1}, "WaitIntervalInSeconds": 1,
            }
        }  # fmt: skip
        sagemaker.update_inference_component(
            InferenceComponentName=name, Specification={"Container": container(archive(platform, name, "new"))},
            **({"DeploymentConfig": config} if rolling else {}),
        )  # fmt: skip
        found = ended(platform, name)
        assert found["InferenceComponentStatus"] == "InService", found
        assert found["Specification"]["Container"]["ArtifactUrl"].endswith("new.tar.gz")
        assert found.get("LastDeploymentConfig") == (config if rolling else None)
        seen = len(answers)
        until(lambda: len(answers) > seen + 10, 10, "answers after the update")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert answers[0] == "old"
    assert set(answers[-3:]) == {"new"}

    broken = archive(platform, name, "broken")
    sagemaker.update_inference_component(
        InferenceComponentName=name,
        Specification={"Container": {**container(broken), "Environment": {"SAGEMAKER_PROGRAM": "none.py"}}},
    )
    found = ended(platform, name)
    assert found["InferenceComponentStatus"] == "InService"
    assert "did not pass the ping health check" in found["FailureReason"]
    assert found["Specification"]["Container"]["ArtifactUrl"].endswith("new.tar.gz")
    describe = sagemaker.describe_inference_component
    assert all("FailureReason" in describe(InferenceComponentName=name) for _ in range(40))  # it stays
    assert ask(platform, name, name) == ["new", "x"]
    remove(platform, name, name)


def test_what_is_refused(platform: Platform, name: str, model_data: str) -> None:
    sagemaker = platform.client("sagemaker")
    host(platform, name)
    data = archive(platform, name, "w")
    for changes, words in (
        ({"EndpointName": "none"}, "Could not find endpoint"),
        ({"VariantName": "none"}, 'no production variant "none"'),
        ({"Specification": {"ComputeResourceRequirements": {"MinMemoryRequiredInMb": 128}}}, "ModelName or Container"),
        ({"Specification": {"Container": container(data)}}, "ComputeResourceRequirements is required"),
        ({"Specification": {"BaseInferenceComponentName": "b"}}, "adapter components"),
        ({"Specification": specification(data, 512, MaxMemoryRequiredInMb=256)}, "must not be less"),
    ):
        request = {
            "InferenceComponentName": f"{name}-x", "EndpointName": name, "VariantName": "AllTraffic",
            "Specification": specification(data), "RuntimeConfig": {"CopyCount": 1},
        }  # fmt: skip
        with pytest.raises(ClientError, match=words):
            sagemaker.create_inference_component(**{**request, **changes})
    with pytest.raises(ClientError, match="Could not find inference component"):
        sagemaker.describe_inference_component(InferenceComponentName=f"{name}-x")
    variant = {"VariantName": "A", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    with pytest.raises(ClientError, match="ExecutionRoleArn is required"):
        sagemaker.create_endpoint_config(EndpointConfigName=f"{name}-c", ProductionVariants=[variant])
    sagemaker.delete_endpoint(EndpointName=name)
