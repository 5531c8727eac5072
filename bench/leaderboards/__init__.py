"""The plug-in folder `leaderboards/` of the package, of a checkout and of $BENCH_PATH, as one."""

from bench.plugins import folders

__path__ = folders("leaderboards")
