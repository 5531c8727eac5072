"""From the graph to artefacts and results: two executors, one policy, one loop."""
