"""Re-rankers of short lists, and the knowledge in words that they can be given."""
