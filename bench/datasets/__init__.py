"""The plug-in folder `datasets/` of the package, of a checkout and of $BENCH_PATH, as one."""

from bench.config.search_path import folders

__path__ = folders("datasets")
