"""SDK v3: ModelTrainer on the built-in algorithm and on a script, ModelBuilder, the resource classes."""

import pathlib
import time
import zipfile

import numpy as np
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import Endpoint, TrainingJob
from sagemaker.serve import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode

session = Session()
role = get_execution_role()
rng = np.random.default_rng(0)
x = rng.random((300, 4))
np.savetxt("d.csv", np.column_stack([x[:, 0] > 0.5, x]), delimiter=",", fmt="%g")
uri = session.upload_data("d.csv", key_prefix="v3/train")
image = image_uris.retrieve("xgboost", "us-east-1", version="1.7-1")
compute = Compute(instance_type="ml.m5.large", instance_count=1)
inputs = [InputData(channel_name="train", data_source=uri, content_type="text/csv")]
trainer = ModelTrainer(
    training_image=image, role=role, compute=compute, sagemaker_session=session, base_job_name="builtin",
    hyperparameters={"num_round": 10, "objective": "binary:logistic"},
)  # fmt: skip
trainer.train(input_data_config=inputs, wait=True, logs=True)
job = trainer._latest_training_job
assert job.training_job_status == "Completed"

pathlib.Path("code").mkdir(exist_ok=True)
about = "tinypackage-1.0.dist-info"
with zipfile.ZipFile("code/tinypackage-1.0-py3-none-any.whl", "w") as packed:
    packed.writestr("tinypackage.py", "VALUE = 'from a wheel'\n")
    packed.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tinypackage\nVersion: 1.0\n")
    packed.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    packed.writestr(
        f"{about}/RECORD", "".join(f"{n},,\n" for n in ("tinypackage.py", f"{about}/METADATA", f"{about}/WHEEL"))
    )
pathlib.Path("code/requirements.txt").write_text("./tinypackage-1.0-py3-none-any.whl\n")
pathlib.Path("code/train.py").write_text(
    "import os\nimport tinypackage\nprint('PACKAGE', tinypackage.VALUE)\nprint('SCRIPT', os.environ['SM_CURRENT_HOST'], sorted(os.listdir(os.environ['SM_CHANNEL_TRAIN'])))\n"
    "open(os.path.join(os.environ['SM_MODEL_DIR'], 'm'), 'w').write('x')\n"
)
scripted = ModelTrainer(
    training_image=image, role=role, compute=compute, sagemaker_session=session, base_job_name="scripted",
    source_code=SourceCode(source_dir="code", entry_script="train.py", requirements="requirements.txt"),
)  # fmt: skip
scripted.train(input_data_config=inputs, wait=True, logs=True)
assert scripted._latest_training_job.training_job_status == "Completed"
assert len(list(TrainingJob.get_all())) >= 2

clusters = ModelTrainer(
    training_image=image_uris.retrieve("kmeans", "us-east-1"), role=role, compute=compute, sagemaker_session=session,
    base_job_name="clusters", hyperparameters={"k": 2, "feature_dim": 5},
)  # fmt: skip
unlabelled = InputData(channel_name="train", data_source=uri, content_type="text/csv;label_size=0")
clusters.train(input_data_config=[unlabelled], wait=True, logs=True)
assert any(m.metric_name == "train:msd" for m in clusters._latest_training_job.final_metric_data_list)

name = f"v3-{int(time.time())}"
builder = ModelBuilder(model=trainer, image_uri=image, role_arn=role, sagemaker_session=session)
builder.build()
endpoint = builder.deploy(endpoint_name=name, instance_type="ml.m5.large", initial_instance_count=1)
score = float(Endpoint.get(name).invoke(body="0.9,0.5,0.5,0.5", content_type="text/csv").body.read())
print("SCORE", score)
assert score > 0.5
endpoint.delete()
