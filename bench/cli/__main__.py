"""`python -m bench.cli` is the command `bench`."""

from bench.cli import main

main()
