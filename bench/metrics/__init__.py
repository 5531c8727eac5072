"""Metrics of rankings and re-ranked lists: the registry, one module per family, evaluation."""
