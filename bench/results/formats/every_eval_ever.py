"""Results as records of Every Eval Ever, the shared schema of the EvalEval coalition.

Fields and their meaning: `eval.schema.json` of github.com/evaleval/every_eval_ever, version 0.3.0,
and that project's contributor guide for paths and ids. One record per trial:

    data/llmrec-bench/<developer>/<model>/<uuid>.json

The evaluated model is a method with its settings, with or without a backbone; its id is
`<developer>/<method>[-<backbone>]-<hash of the settings>`. Samples (`add_samples`, the schema
`instance_level_eval.schema.json`) are one line per case and metric, in a file next to the record.
They have item ids and case numbers, no titles and no histories: those are under the data's terms.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from bench.metrics.metric import Metric
from bench.metrics.registry import get_metric
from bench.results.schema import CaseTable, Result

VERSION = "0.3.0"
COLLECTION = "llmrec-bench"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Who evaluated, and the data set's page.

    The evaluator's relationship to the methods is "first_party", "third_party", "collaborative" or
    "other".
    """

    developer: str
    relationship: str
    homepage: str | None


def build_record(
    result: Result, table: CaseTable, source: Source, written: float
) -> tuple[PurePosixPath, dict[str, Any]]:
    """Build the record of a successful trial, and its path.

    The same result, written at the same time (in seconds since 1970), gives the same record at the
    same path.
    """
    developer = re.sub(r"[^\w.]+", "-", source.developer).strip("-.").lower()
    model = "-".join(filter(None, (result.method, result.model, result.settings_hash)))
    identity = f"{developer}/{model}"
    name = uuid.UUID(bytes=hashlib.sha256(result.trial.encode()).digest()[:16], version=4)
    content = {
        "schema_version": VERSION,
        "evaluation_id": f"{COLLECTION}.{result.dataset}/{identity}/{written:.3f}",
        "retrieved_timestamp": f"{written:.3f}",
        "source_metadata": {
            "source_name": COLLECTION,
            "source_type": "evaluation_run",
            "source_organization_name": source.developer,
            "evaluator_relationship": source.relationship,
        },
        "eval_library": {
            "name": COLLECTION,
            "version": result.provenance.get(COLLECTION, "unknown"),
            "additional_details": dict(result.provenance),
        },
        "model_info": {
            "name": f"{result.method} on {result.model}" if result.model else result.method,
            "id": identity,
            "developer": source.developer,
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                "method": result.method,
                **({"backbone": result.model} if result.model else {}),
            },
        },
        "evaluation_results": [
            _metric_record(result, get_metric(metric), value, table, source)
            for metric, value in result.evaluations["final"].metrics.items()
        ],
    }
    return PurePosixPath("data", COLLECTION, developer, model, f"{name}.json"), content


def add_samples(
    path: PurePosixPath, content: dict[str, Any], table: CaseTable
) -> tuple[PurePosixPath, str]:
    """Build the samples of a record, one JSON object per line; return their path and content.

    The record gets a field `detailed_evaluation_results` that refers to them.
    """
    lines = []
    outputs = [[str(item) for item in row if item is not None] for row in table.items]
    for record in content["evaluation_results"]:
        config, dataset = record["metric_config"], record["evaluation_name"]
        for case, value, items in zip(
            table.cases, table.values.get(config["metric_name"], ()), outputs, strict=False
        ):
            answer = " ".join(items[: config["metric_parameters"].get("k", 1)])
            line = {
                "schema_version": VERSION,
                "evaluation_id": content["evaluation_id"],
                "model_id": content["model_info"]["id"],
                "evaluation_name": dataset,
                "evaluation_result_id": record["evaluation_result_id"],
                "sample_id": f"{dataset}/{case}",
                "interaction_type": "single_turn",
                "input": {"raw": f"Test case {case} of {dataset}", "reference": []},
                "output": {"raw": [" ".join(items)]},
                "answer_attribution": [
                    {
                        "turn_idx": 0,
                        "source": "output.raw",
                        "extracted_value": answer,
                        "extraction_method": "first items of the ranking",
                        "is_terminal": True,
                    }
                ],
                "evaluation": {
                    "score": float(value),
                    "is_correct": bool(value > 0) != config["lower_is_better"],
                },
            }
            lines.append(json.dumps(line, ensure_ascii=False))
    text = "".join(f"{line}\n" for line in lines)
    samples = path.with_name(f"{path.stem}_samples.jsonl")
    content["detailed_evaluation_results"] = {
        "format": "jsonl",
        "file_path": str(samples),
        "hash_algorithm": "sha256",
        "checksum": hashlib.sha256(text.encode()).hexdigest(),
        "total_rows": len(lines),
    }
    return samples, text


def _metric_record(
    result: Result, metric: Metric, value: float, table: CaseTable, source: Source
) -> dict[str, Any]:
    parameters = {"k": metric.k, "category": metric.category}
    details: dict[str, Any] = {"score": value}
    if metric.name in table.values and len(table.cases) > 1:
        details["uncertainty"] = {
            "standard_deviation": float(table.values[metric.name].std(ddof=1)),
            "num_samples": len(table.cases),
        }
    return {
        "evaluation_result_id": f"{result.trial}/{metric.name}",
        "evaluation_name": result.dataset,
        "source_data": _data(result, source),
        "metric_config": {
            "metric_id": f"{COLLECTION}.{metric.name}",
            "metric_name": metric.name,
            "metric_kind": metric.family,
            "metric_parameters": {
                name: value for name, value in parameters.items() if value is not None
            },
            "lower_is_better": not metric.higher_is_better,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": min(metric.upper_bound, sys.float_info.max),  # JSON has no infinity
        },
        "score_details": details,
        "generation_config": {"additional_details": _as_texts(result.all_settings)},
    }


def _data(result: Result, source: Source) -> dict[str, Any]:
    assert result.data is not None, "a successful trial has data"
    url = {} if source.homepage is None else {"url": [source.homepage]}
    details = {"fingerprint": result.data.fingerprint, **result.data.counts}
    return {
        "dataset_name": result.dataset,
        "source_type": "url" if url else "other",
        **url,
        "additional_details": _as_texts(details),
    }


def _as_texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()
    }
