"""Filters and joins: what of a record the model sees, and what of its answer is written beside the record.

Source: AWS, "Associate Prediction Results with Input Records".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import orjson

from ...jsonpath import PathError, compile_path, indexes_only

Json = dict[str, Any]
Extra = Callable[[], tuple[str, str]]
_FAMILIES = {"text/csv": "csv", "application/json": "json", "application/jsonlines": "jsonlines"}


class ProcessingError(Exception):
    """Records and answers that do not fit the filters; the object fails with this text."""


def family(content_type: str) -> str | None:
    """Which of the three formats a content type is; None when it is another."""
    return _FAMILIES.get(content_type.partition(";")[0].strip().lower())


def check(spec: Json) -> str | None:
    """What is wrong with a request's DataProcessing; None when nothing is."""
    processing = spec.get("DataProcessing") or {}
    inference_id = (spec.get("DataCaptureConfig") or {}).get("GenerateInferenceId")
    if not processing and not inference_id:
        return None
    kind = family(spec["TransformInput"].get("ContentType", ""))
    if kind is None or family(spec["TransformOutput"].get("Accept", "")) != kind:
        return (
            "DataProcessing needs a ContentType and an Accept of the same format: text/csv, application/json or "
            "application/jsonlines."
        )
    split = spec["TransformInput"].get("SplitType", "None")
    if split != spec["TransformOutput"].get("AssembleWith", "None") or split not in ("None", "Line"):
        return "DataProcessing needs an AssembleWith that equals SplitType: Line, or None for application/json."
    if kind != "json" and split != "Line":
        return f"DataProcessing of {kind} needs SplitType and AssembleWith to be Line."
    for name in ("InputFilter", "OutputFilter"):
        text = processing.get(name, "$")
        try:
            compile_path(text)
        except PathError as error:
            return f"DataProcessing.{name}: {error}."
        if kind == "csv" and not indexes_only(text):
            return f"DataProcessing.{name}: {text} names a member, but the rows of text/csv have only positions."
    return None


class Processor:
    """Filters and joins one job's records."""

    def __init__(self, spec: Json, extra: Extra | None = None):
        processing = spec.get("DataProcessing") or {}
        self._csv = family(spec["TransformInput"].get("ContentType", "")) == "csv"
        self._lines = spec["TransformInput"].get("SplitType", "None") == "Line"
        self._in = _path(processing.get("InputFilter"))
        self._out = _path(processing.get("OutputFilter"))
        self._join = processing.get("JoinSource", "None") == "Input"
        self._extra = extra  # an inference id and a time for every record

    def filtered(self, record: bytes) -> bytes:
        """What the model is sent of a record."""
        if self._in is None:
            return record
        return self._write(self._pick(self._in, self._read(record)))

    def joined(self, records: list[bytes], answer: bytes) -> bytes:
        """The output for records and the answer that came to them together."""
        if not self._join and self._out is None and self._extra is None:
            return answer
        answers = self._split(answer)
        if len(answers) != len(records):
            raise ProcessingError(f"the model answered {len(records)} records with {len(answers)}")
        return b"".join(self._one(r, a) for r, a in zip(records, answers, strict=True))

    def _one(self, record: bytes, answer: Any) -> bytes:
        value = answer
        if self._join:
            source = self._read(record)
            if self._csv:
                value = [*source, *answer]
            elif isinstance(source, dict):
                value = {**source, "SageMakerOutput": answer}
            else:
                value = {"SageMakerInput": source, "SageMakerOutput": answer}
        if self._out is not None:
            value = self._pick(self._out, value)
        if self._extra is not None:
            identity, time = self._extra()
            if self._csv:
                value = [*(value if isinstance(value, list) else [value]), identity, time]
            else:
                value = {**(value if isinstance(value, dict) else {"SageMakerOutput": value})}
                value |= {"SageMakerInferenceId": identity, "SageMakerInferenceTime": time}
        return self._write(value)

    def _split(self, answer: bytes) -> list[Any]:
        text = answer.decode("utf-8", "replace")
        if self._csv:
            return list(csv.reader(io.StringIO(text)))
        try:
            if not self._lines:
                return [orjson.loads(answer)]
            return [orjson.loads(line) for line in answer.splitlines() if line.strip()]
        except ValueError:
            raise ProcessingError(f"the model's answer is not JSON: {text[:200]!r}") from None

    def _read(self, record: bytes) -> Any:
        if self._csv:
            rows = list(csv.reader(io.StringIO(record.decode("utf-8", "replace"))))
            return rows[0] if rows else []
        try:
            return orjson.loads(record)
        except ValueError:
            raise ProcessingError(f"a record is not JSON: {record[:200]!r}") from None

    def _write(self, value: Any) -> bytes:
        if self._csv:
            out = io.StringIO()
            csv.writer(out, lineterminator="\n").writerow(value if isinstance(value, list) else [value])
            return out.getvalue().encode()
        return orjson.dumps(value) + (b"\n" if self._lines else b"")

    def _pick(self, path: Callable[[Any], Any], value: Any) -> Any:
        try:
            return path(value)
        except PathError as error:
            raise ProcessingError(str(error)) from None


def _path(text: str | None) -> Callable[[Any], Any] | None:
    return None if text in (None, "$") else compile_path(text)
