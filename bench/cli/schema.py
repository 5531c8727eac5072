"""`bench schema`: the JSON Schema of a result."""

from __future__ import annotations

import json


def schema() -> None:
    """Print the JSON Schema that every result file fits."""
    from bench.results.schema import json_schema

    print(json.dumps(json_schema(), indent=2))
