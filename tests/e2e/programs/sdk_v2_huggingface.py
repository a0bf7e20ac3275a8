"""SDK v2: a Hugging Face estimator whose code lies in a Git repository; the model it makes served without a script."""

import os
import pathlib
import subprocess
import time

import sagemaker
from sagemaker.huggingface import HuggingFace

SCRIPT = '''
"""Teach a small BERT, begun from nothing, which words are good."""
import argparse, os
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
epochs = parser.parse_args().epochs
good, bad, rest = ["fine", "great", "lovely"], ["poor", "awful", "dull"], ["film", "day", "book", "meal"]
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *good, *bad, *rest]
plain = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
plain.pre_tokenizer = pre_tokenizers.Whitespace()
plain.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")
texts = [(f"{w} {r}", int(w in good)) for w in good + bad for r in rest] * 8
batch = tokenizer([t for t, _ in texts], return_tensors="pt", padding=True)
labels = torch.tensor([label for _, label in texts])
torch.manual_seed(0)
config = BertConfig(vocab_size=len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1})
model = BertForSequenceClassification(config)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(epochs):
    loss = model(**batch, labels=labels).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print("epoch", epoch, "loss", float(loss))
model.save_pretrained(os.environ["SM_MODEL_DIR"])
tokenizer.save_pretrained(os.environ["SM_MODEL_DIR"])
'''

repository = pathlib.Path("repository").absolute()
(repository / "code").mkdir(parents=True)
(repository / "code" / "train.py").write_text(SCRIPT)
git = ["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@example.com"]
for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "scripts"]):
    subprocess.run([*git, *command], check=True)
# the SDK takes https and ssh only: git itself is told that this address is a folder
os.environ |= {
    "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{repository}.insteadOf",
    "GIT_CONFIG_VALUE_0": "https://git.example.com/scripts.git",
}  # fmt: skip

session, role = sagemaker.Session(), sagemaker.get_execution_role()
estimator = HuggingFace(
    git_config={"repo": "https://git.example.com/scripts.git", "branch": "main"}, entry_point="train.py",
    source_dir="code", transformers_version="4.48.0", pytorch_version="2.3.0", py_version="py311", role=role,
    instance_count=1, instance_type="ml.g5.xlarge", hyperparameters={"epochs": 40}, sagemaker_session=session,
)  # fmt: skip
estimator.fit(logs=["Training"])
predictor = estimator.deploy(1, "ml.g5.xlarge", endpoint_name=f"huggingface-{time.time():.0f}")
answers = predictor.predict({"inputs": ["lovely meal", "awful book"]})
assert [a["label"] for a in answers] == ["good", "bad"], answers
print("HUGGINGFACE", answers)
predictor.delete_endpoint()
