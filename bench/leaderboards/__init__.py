"""The plug-in folder `leaderboards/` of the package, of a checkout and of $BENCH_PATH, as one."""

from bench.config.search_path import folders

__path__ = folders("leaderboards")
