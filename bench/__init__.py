"""A benchmark harness for LLM-based recommenders."""
