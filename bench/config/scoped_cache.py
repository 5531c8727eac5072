"""Look at files once while something is planned.

A plan of thousands of trials asks for the same few hashes thousands of times, and all its keys
should be those of one state of the files. Nothing is remembered longer: people edit files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_looked_up: ContextVar[dict[object, Any] | None] = ContextVar("looked_up", default=None)


@contextmanager
def one_state() -> Iterator[None]:
    """Inside, whatever is `once` answers as it did the first time."""
    if _looked_up.get() is not None:
        yield
        return
    token = _looked_up.set({})
    try:
        yield
    finally:
        _looked_up.reset(token)


def once(function: Callable[P, R]) -> Callable[P, R]:
    """Remember a function's answers by its hashable arguments, as long as `one_state` lasts."""

    @wraps(function)
    def looked_up(*args: P.args, **kwargs: P.kwargs) -> R:
        known = _looked_up.get()
        if known is None:
            return function(*args, **kwargs)
        asked = (function, args, tuple(kwargs.items()))
        if asked not in known:
            known[asked] = function(*args, **kwargs)
        answer: R = known[asked]
        return answer

    return looked_up
