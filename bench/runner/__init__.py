"""From the graph to artifacts and results: two executors, one policy, one loop."""
