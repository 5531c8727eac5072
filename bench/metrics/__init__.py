"""What a ranking is worth: accuracy, diversity and category fairness of top-k lists.

The room re-exports nothing, so that `bench.metrics.names` stays importable without numpy.
"""
