"""SDK v2: a Hugging Face estimator on TensorFlow; the model it makes served without a script."""

import pathlib
import time

import sagemaker
from sagemaker.huggingface import HuggingFace

pathlib.Path("train.py").write_text('''
"""Teach a small BERT, begun from nothing, which words are good."""
import argparse, os
import numpy as np
import tensorflow as tf
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast, TFBertForSequenceClassification

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
batch = dict(tokenizer([t for t, _ in texts], return_tensors="np", padding=True))
labels = np.array([label for _, label in texts])
tf.keras.utils.set_random_seed(0)
config = BertConfig(vocab_size=len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1})
model = TFBertForSequenceClassification(config)
model.compile("adam")  # the loss is the model's own
model.fit({**batch, "labels": labels}, epochs=epochs, batch_size=24, verbose=2)
model.save_pretrained(os.environ["SM_MODEL_DIR"])
tokenizer.save_pretrained(os.environ["SM_MODEL_DIR"])
''')

session, role = sagemaker.Session(), sagemaker.get_execution_role()
estimator = HuggingFace(
    entry_point="train.py", transformers_version="4.17.0", tensorflow_version="2.6.3", py_version="py38", role=role,
    instance_count=1, instance_type="ml.g4dn.xlarge", hyperparameters={"epochs": 60}, sagemaker_session=session,
)  # fmt: skip
estimator.fit(logs=["Training"])
predictor = estimator.deploy(1, "ml.g4dn.xlarge", endpoint_name=f"huggingface-tf-{time.time():.0f}")
answers = predictor.predict({"inputs": ["lovely meal", "awful book"]})
assert [a["label"] for a in answers] == ["good", "bad"], answers
print("HUGGINGFACE", answers)
predictor.delete_endpoint()
