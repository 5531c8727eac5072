"""A cache that lasts while something is planned.

A plan of thousands of trials needs the same few hashes thousands of times, and all its keys must
belong to one state of the files. Nothing is cached longer, because people edit files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_results: ContextVar[dict[object, Any] | None] = ContextVar("results", default=None)


@contextmanager
def one_state() -> Iterator[None]:
    """Cache the results of all `once` functions while the context lasts."""
    if _results.get() is not None:
        yield
        return
    token = _results.set({})
    try:
        yield
    finally:
        _results.reset(token)


def once(function: Callable[P, R]) -> Callable[P, R]:
    """Cache a function's results by its hashable arguments while a `one_state` context lasts."""

    @wraps(function)
    def cached(*args: P.args, **kwargs: P.kwargs) -> R:
        results = _results.get()
        if results is None:
            return function(*args, **kwargs)
        call = (function, args, tuple(kwargs.items()))
        if call not in results:
            results[call] = function(*args, **kwargs)
        result: R = results[call]
        return result

    return cached
