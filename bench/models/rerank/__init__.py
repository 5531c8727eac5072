"""Re-rankers of candidate lists, and the generated texts that they can read."""
