"""Trackers (MLflow, TensorBoard, Weights & Biases): optional copies of results, never a dependency.

One module per tracker: its `LIBRARY`, its `Tracker`, which writes a `TrialEntry`, and the
environment of live training curves. `hook` is what a run uses.
"""
