"""SDK v2: a cluster of two instance groups, one of which gets a channel that the other does not."""

import pathlib

import boto3
import sagemaker
from botocore.exceptions import ClientError
from sagemaker.inputs import TrainingInput
from sagemaker.instance_group import InstanceGroup
from sagemaker.pytorch import PyTorch

pathlib.Path("train.py").write_text("""
import json, os
group, groups = os.environ["SM_CURRENT_INSTANCE_GROUP"], json.loads(os.environ["SM_INSTANCE_GROUPS_DICT"])
told = {
    "host": os.environ["SM_CURRENT_HOST"], "group": group, "type": os.environ["SM_CURRENT_INSTANCE_TYPE"],
    "mixed": os.environ["SM_IS_HETERO"], "with": json.loads(os.environ["SM_CURRENT_INSTANCE_GROUP_HOSTS"]),
    "hosts": json.loads(os.environ["SM_HOSTS"]), "types": {n: g["instance_type"] for n, g in groups.items()},
    "channels": {c: os.listdir(os.environ["SM_CHANNEL_" + c.upper()]) for c in json.loads(os.environ["SM_CHANNELS"])},
}
with open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], told["host"] + ".json"), "w") as file:
    json.dump(told, file)
print("TOLD", json.dumps(told, sort_keys=True))
""")
pathlib.Path("raw.csv").write_text("1,2\n")
pathlib.Path("seen.csv").write_text("3,4\n")
session = sagemaker.Session()
raw, seen = (session.upload_data(f"{n}.csv", key_prefix=f"groups/{n}") for n in ("raw", "seen"))
estimator = PyTorch(
    entry_point="train.py", framework_version="2.3.0", py_version="py311", role=sagemaker.get_execution_role(),
    instance_groups=[InstanceGroup("prepare", "ml.c5.xlarge", 2), InstanceGroup("learn", "ml.m5.large", 1)],
    sagemaker_session=session,
)  # fmt: skip
estimator.fit({"raw": TrainingInput(raw, instance_groups=["prepare"]), "seen": TrainingInput(seen)}, logs=False)
found = boto3.client("sagemaker").describe_training_job(TrainingJobName=estimator.latest_training_job.name)
print("GROUPS", [(g["InstanceGroupName"], g["InstanceCount"]) for g in found["ResourceConfig"]["InstanceGroups"]])
logs = boto3.client("logs")
lines = []
for stream in logs.describe_log_streams(
    logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{found['TrainingJobName']}/"
)["logStreams"]:
    events = logs.get_log_events(logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=stream["logStreamName"])[
        "events"
    ]
    lines += [e["message"] for e in events if e["message"].startswith("TOLD")]
print("\n".join(sorted(lines)))
try:
    estimator.fit({"raw": TrainingInput(raw, instance_groups=["neither"])}, logs=False)
except ClientError as error:
    print("REFUSED", error)
