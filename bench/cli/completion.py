"""Names that the shell completes, found without importing any method.

`bench --install-completion` sets the shell up; it calls these functions at every tab.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.errors import BenchError

TRACKERS = ("mlflow", "tensorboard", "wandb")


def complete_methods(incomplete: str) -> list[str]:
    """Complete the name of a method."""
    from bench.config import plugins

    return _complete(plugins.method_names, incomplete)


def complete_cards(kind: str) -> Callable[[str], list[str]]:
    """Return a function that completes names of cards of a kind, such as "datasets"."""

    def complete(incomplete: str) -> list[str]:
        from bench.config import plugins

        return _complete(lambda: sorted(plugins.card_paths(kind)), incomplete)

    return complete


def complete_trackers(incomplete: str) -> list[str]:
    """Complete the name of a tracker."""
    return _complete(lambda: list(TRACKERS), incomplete)


def _complete(list_names: Callable[[], list[str]], incomplete: str) -> list[str]:
    try:
        return [name for name in list_names() if name.startswith(incomplete)]
    except BenchError:  # a broken $BENCH_PATH is reported when a command runs, not at a tab
        return []
