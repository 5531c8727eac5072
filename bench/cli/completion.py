"""Names that the shell completes: what `bench list` would show, found without importing any of it.

`bench --install-completion` teaches the shell; this is what it asks at every tab.
"""

from __future__ import annotations

from bench.errors import BenchError


def methods(incomplete: str) -> list[str]:
    """Complete a method's name."""
    from bench.config import plugins

    try:
        return [name for name in plugins.method_names() if name.startswith(incomplete)]
    except BenchError:  # a broken $BENCH_PATH is told when a command runs, not at a tab
        return []


def datasets(incomplete: str) -> list[str]:
    """Complete a data set's name."""
    return _cards("datasets", incomplete)


def models(incomplete: str) -> list[str]:
    """Complete a backbone's name."""
    return _cards("models", incomplete)


def boards(incomplete: str) -> list[str]:
    """Complete a board's name."""
    return _cards("leaderboards", incomplete)


def suites(incomplete: str) -> list[str]:
    """Complete a suite's name."""
    return _cards("suites", incomplete)


def budgets(incomplete: str) -> list[str]:
    """Complete a budget's name."""
    return _cards("budgets", incomplete)


def trackers(incomplete: str) -> list[str]:
    """Complete a tracker's name."""
    return [name for name in ("mlflow", "tensorboard", "wandb") if name.startswith(incomplete)]


def _cards(room: str, incomplete: str) -> list[str]:
    from bench.config import plugins

    try:
        return [name for name in sorted(plugins.card_paths(room)) if name.startswith(incomplete)]
    except BenchError:
        return []
