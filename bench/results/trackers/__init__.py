"""Results told to trackers (MLflow, TensorBoard, Weights & Biases); never needed, never in the way.

One file a tracker: it names its `LIBRARY` and writes an `Entry`. `hook` is what a run calls.
"""
