"""Lists of names in claim files; a single name may be written without brackets."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator


def _make_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_make_list)]
