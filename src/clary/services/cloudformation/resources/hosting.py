"""SageMaker's models, endpoints and inference components, and their auto scaling."""

from __future__ import annotations

from collections.abc import Callable

from ..kind import Failed, Json, Kind, Later, Made, Work, gone, only, retag, tag_list, texts
from .stacks import LEAVING


def _created(operation: str, member: str, arn: str, work: Work, props: Json) -> Made:
    made = getattr(work.client("sagemaker"), operation)(**{**props, member: work.name})
    return Made(made[arn], {member: work.name})


def _retagged(work: Work, arn: str, old: Json, props: Json) -> Made:
    client = work.client("sagemaker")
    retag(
        old, props, lambda tags: client.add_tags(ResourceArn=arn, Tags=tag_list(tags)),
        lambda keys: client.delete_tags(ResourceArn=arn, TagKeys=keys),
    )  # fmt: skip
    return Made(arn, work.before)


def _last(name: str) -> str:
    """A name, which templates often give as an ARN: that is what ``Ref`` gives."""
    return name.rpartition("/")[2]


def _container(given: Json) -> Json:
    return {**given, "Environment": texts(given["Environment"])} if given.get("Environment") else given


def _model(work: Work, props: Json) -> Made:
    given = dict(props)
    if "PrimaryContainer" in props:
        given["PrimaryContainer"] = _container(props["PrimaryContainer"])
    if "Containers" in props:
        given["Containers"] = [_container(each) for each in props["Containers"]]
    return _created("create_model", "ModelName", "ModelArn", work, given)


def _endpoint_config(work: Work, props: Json) -> Made:
    given = dict(props)
    for key in ("ProductionVariants", "ShadowProductionVariants"):
        if key in props:
            given[key] = [{**v, "ModelName": _last(v["ModelName"])} if "ModelName" in v else v for v in props[key]]
    return _created("create_endpoint_config", "EndpointConfigName", "EndpointConfigArn", work, given)


def _endpoint(work: Work, props: Json) -> Made:
    given = {"EndpointConfigName": _last(props["EndpointConfigName"]), **only(props, "DeploymentConfig", "Tags")}
    return _created("create_endpoint", "EndpointName", "EndpointArn", work, given)


def _changed_endpoint(work: Work, arn: str, old: Json, props: Json) -> Made:
    _retagged(work, arn, old, props)
    if {k: v for k, v in old.items() if k != "Tags"} != {k: v for k, v in props.items() if k != "Tags"}:
        more = only(
            props,
            "DeploymentConfig",
            "RetainAllVariantProperties",
            "ExcludeRetainedVariantProperties",
            "RetainDeploymentConfig",
        )
        name = _last(props["EndpointConfigName"])
        work.client("sagemaker").update_endpoint(EndpointName=work.name, EndpointConfigName=name, **more)
    return Made(arn, work.before)


def _endpoint_ready(work: Work, arn: str) -> Made | None:
    found = work.client("sagemaker").describe_endpoint(EndpointName=work.name)
    if found["EndpointStatus"] == "Failed":
        raise Failed(found.get("FailureReason", "The endpoint failed."))
    if found["EndpointStatus"] != "InService":
        return None
    if reason := found.get("FailureReason"):  # of an update, after which the endpoint serves as before
        raise Failed(reason)
    return Made(arn, work.before)


def _component(work: Work, props: Json) -> Made:
    return _created(
        "create_inference_component", "InferenceComponentName", "InferenceComponentArn", work,
        {k: v for k, v in props.items() if k not in ("EndpointArn", "DeploymentConfig")},
    )  # fmt: skip


def _changed_component(work: Work, arn: str, old: Json, props: Json) -> Made:
    _retagged(work, arn, old, props)
    given = only(props, "Specification", "RuntimeConfig", "DeploymentConfig")
    if given != only(old, *given):
        work.client("sagemaker").update_inference_component(InferenceComponentName=work.name, **given)
    return Made(arn, work.before)


def _component_ready(work: Work, arn: str) -> Made | None:
    found = work.client("sagemaker").describe_inference_component(InferenceComponentName=work.name)
    if found["InferenceComponentStatus"] == "Failed":
        raise Failed(found.get("FailureReason", "The inference component failed."))
    attributes = {"InferenceComponentName": work.name, "InferenceComponentArn": arn}
    return Made(arn, attributes) if found["InferenceComponentStatus"] == "InService" else None


_BUSY = ("Creating", "Updating", "RollingBack")
_SETTLING = "settling"  # it is asked to go once it has become what it was asked to be before


def _gone(thing: str) -> Callable[[Work, str, Json], None]:
    """Removes a model or a configuration."""
    member = f"{_words(thing)}Name"

    def delete(work: Work, physical: str, props: Json) -> None:
        gone(getattr(work.client("sagemaker"), f"delete_{thing}"), **{member: work.name})

    return delete


def _gone_in_time(thing: str) -> Callable[[Work, str, Json], None]:
    """Removes an endpoint or an inference component: what is under way ends first, and then it takes its time to go."""
    words = _words(thing)

    def state(work: Work) -> str:
        found: list[str] = []
        describe = getattr(work.client("sagemaker"), f"describe_{thing}")
        gone(lambda **name: found.append(describe(**name)[f"{words}Status"]), **{f"{words}Name": work.name})
        return found[0] if found else ""

    def delete(work: Work, physical: str, props: Json) -> None:
        now = state(work)
        if work.before.get(LEAVING, _SETTLING) == _SETTLING:
            if now in _BUSY:
                raise Later({**work.before, LEAVING: _SETTLING})
            gone(getattr(work.client("sagemaker"), f"delete_{thing}"), **{f"{words}Name": work.name})
        if now:
            raise Later({**work.before, LEAVING: True})

    return delete


def _words(thing: str) -> str:
    return "".join(part.capitalize() for part in thing.split("_"))


# ---- auto scaling ----------------------------------------------------------------------------------------------------

_PLACE = ("ServiceNamespace", "ResourceId", "ScalableDimension")


def _target(work: Work, props: Json) -> Made:
    return _changed_target(
        work, "|".join(props[k] for k in ("ResourceId", "ScalableDimension", "ServiceNamespace")), {}, props
    )


def _changed_target(work: Work, identifier: str, old: Json, props: Json) -> Made:
    client, place = work.client("application-autoscaling"), only(props, *_PLACE)
    client.register_scalable_target(**place, **only(props, "MinCapacity", "MaxCapacity", "RoleARN", "SuspendedState"))
    wanted = {action["ScheduledActionName"] for action in props.get("ScheduledActions") or ()}
    for action in old.get("ScheduledActions") or ():
        if (name := action["ScheduledActionName"]) not in wanted:
            gone(client.delete_scheduled_action, **place, ScheduledActionName=name)
    for action in props.get("ScheduledActions") or ():
        client.put_scheduled_action(**place, **action)
    return Made(identifier, {"Id": identifier})


def _no_target(work: Work, identifier: str, props: Json) -> None:
    gone(work.client("application-autoscaling").deregister_scalable_target, **_place({"ScalingTargetId": identifier}))


def _place(props: Json) -> Json:
    if "ScalingTargetId" not in props:
        return only(props, *_PLACE)
    resource, dimension, namespace = props["ScalingTargetId"].split("|")
    return {"ResourceId": resource, "ScalableDimension": dimension, "ServiceNamespace": namespace}


def _policy(work: Work, props: Json) -> Made:
    given = only(
        props, "PolicyName", "PolicyType", "TargetTrackingScalingPolicyConfiguration", "StepScalingPolicyConfiguration"
    )
    made = work.client("application-autoscaling").put_scaling_policy(**_place(props), **given)
    return Made(made["PolicyARN"], {"Arn": made["PolicyARN"]})


def _no_policy(work: Work, physical: str, props: Json) -> None:
    client = work.client("application-autoscaling")
    gone(client.delete_scaling_policy, PolicyName=props["PolicyName"], **_place(props))


KINDS: dict[str, Kind] = {
    "AWS::SageMaker::Model": Kind(_model, _gone("model"), _retagged, named="ModelName", limit=63),
    "AWS::SageMaker::EndpointConfig": Kind(
        _endpoint_config, _gone("endpoint_config"), _retagged, named="EndpointConfigName", limit=63
    ),
    "AWS::SageMaker::Endpoint": Kind(
        _endpoint, _gone_in_time("endpoint"), _changed_endpoint, named="EndpointName", limit=63, ready=_endpoint_ready
    ),
    "AWS::SageMaker::InferenceComponent": Kind(
        _component, _gone_in_time("inference_component"), _changed_component, ("EndpointName", "VariantName"),
        named="InferenceComponentName", limit=63, ready=_component_ready,
    ),
    "AWS::ApplicationAutoScaling::ScalableTarget": Kind(_target, _no_target, _changed_target, ignores=("Tags",)),
    "AWS::ApplicationAutoScaling::ScalingPolicy": Kind(
        _policy, _no_policy, lambda w, i, o, p: _policy(w, p), ignores=("PredictiveScalingPolicyConfiguration",)
    ),
}  # fmt: skip
