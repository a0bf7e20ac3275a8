"""Framework images: scripts that train and serve with PyTorch, packages of inference code, defaults of each framework."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import torch

from tests.jobs import deploy, job, messages, train
from tests.platform import Platform
from tests.services.test_training import PACKAGE, script, unfed, wheel

IMAGES = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
TRAINING, INFERENCE = f"{IMAGES}/pytorch-training:2.5.1-cpu-py311", f"{IMAGES}/pytorch-inference:2.5.1-cpu-py311"

DISTRIBUTED = """
import argparse, os, torch, torch.distributed as dist
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
args = parser.parse_args()
hosts = __import__("json").loads(os.environ["SM_HOSTS"])
rank = hosts.index(os.environ["SM_CURRENT_HOST"])
os.environ.update(MASTER_ADDR=hosts[0], MASTER_PORT="29500")
dist.init_process_group("gloo", rank=rank, world_size=len(hosts))
torch.manual_seed(0)
net = torch.nn.Linear(2, 1)
model = torch.nn.parallel.DistributedDataParallel(net)
data = torch.randn(64, 2, generator=torch.Generator().manual_seed(rank))
steps = torch.optim.SGD(model.parameters(), 0.1)
for epoch in range(args.epochs):
    loss = ((model(data) - data.sum(dim=1, keepdim=True)) ** 2).mean()
    steps.zero_grad(); loss.backward(); steps.step()
print("LOSS", rank, float(loss))
if rank == 0:
    torch.jit.script(net).save(os.path.join(os.environ["SM_MODEL_DIR"], "model.pt"))
dist.destroy_process_group()
"""


def packed(platform: Platform, bucket: str, **files: bytes) -> str:
    """A model archive in S3."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    platform.client("s3").put_object(Bucket=bucket, Key="model.tar.gz", Body=out.getvalue())
    return f"s3://{bucket}/model.tar.gz"


def test_pytorch_trains_on_several_hosts_and_serves_without_a_script(sqlite_platform: Platform, name: str) -> None:
    sqlite_platform.client("s3").create_bucket(Bucket=name)
    given = {**script(sqlite_platform, name, DISTRIBUTED), "epochs": "50"}
    asked = job(name, name, hyperparameters=given)
    asked["AlgorithmSpecification"]["TrainingImage"] = TRAINING
    asked["ResourceConfig"]["InstanceCount"] = 2
    found = train(sqlite_platform, unfed(asked))
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    printed = [
        line for line in messages(sqlite_platform, "/aws/sagemaker/TrainingJobs", f"{name}/") if line.startswith("LOSS")
    ]
    assert len(printed) == 2 and all(float(line.split()[2]) < 0.01 for line in printed)
    deploy(sqlite_platform, name, found["ModelArtifacts"]["S3ModelArtifacts"], image=INFERENCE)
    runtime = sqlite_platform.client("sagemaker-runtime")
    rows = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    npy = io.BytesIO()
    np.save(npy, rows)
    for body, kind in ((json.dumps(rows.tolist()), "application/json"), ("1,2\n3,4\n", "text/csv"), (npy.getvalue(), "application/x-npy")):  # fmt: skip
        answer = runtime.invoke_endpoint(EndpointName=name, ContentType=kind, Accept="application/json", Body=body)
        assert np.allclose(json.loads(answer["Body"].read()), [[3], [7]], atol=0.2), kind


def test_packages_of_inference_code_are_installed(sqlite_platform: Platform, name: str, tmp_path: Path) -> None:
    sqlite_platform.client("s3").create_bucket(Bucket=name)
    code = (
        b"import tinypackage\ndef model_fn(folder): return 1\ndef predict_fn(data, model): return tinypackage.VALUE\n"
    )
    files = {
        "code/inference.py": code, "code/requirements.txt": f"./{PACKAGE}\n".encode(),
        f"code/{PACKAGE}": wheel("tinypackage", f"VALUE = '{name}'\n"),
    }  # fmt: skip
    data = packed(sqlite_platform, name, **files)
    found = deploy(sqlite_platform, name, data, image=INFERENCE, SAGEMAKER_PROGRAM="inference.py")
    assert found["EndpointStatus"] == "InService", found.get("FailureReason")
    runtime = sqlite_platform.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName=name, ContentType="application/json", Body="[1]")
    assert json.loads(answer["Body"].read()) == name


def test_an_endpoint_says_which_packages_cannot_be_had(sqlite_platform: Platform, name: str) -> None:
    sqlite_platform.client("s3").create_bucket(Bucket=name)
    files = {"code/inference.py": b"", "code/requirements.txt": b"./none-1.0-py3-none-any.whl\n"}
    found = deploy(sqlite_platform, name, packed(sqlite_platform, name, **files), image=INFERENCE)
    assert found["EndpointStatus"] == "Failed" and "InstallRequirementsError" in found["FailureReason"]


def test_two_models_in_one_archive_need_a_script(sqlite_platform: Platform, name: str) -> None:
    sqlite_platform.client("s3").create_bucket(Bucket=name)
    saved = io.BytesIO()
    torch.save({}, saved)
    data = packed(sqlite_platform, name, **{"a.pt": saved.getvalue(), "b.pth": saved.getvalue()})
    found = deploy(sqlite_platform, name, data, image=INFERENCE)
    assert found["EndpointStatus"] == "Failed"
    assert "Exactly one .pth or .pt file is required for PyTorch models: ['a.pt', 'b.pth']" in found["FailureReason"]
