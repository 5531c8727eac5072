"""Plans: stages, their configs, and the functions that compose them."""
