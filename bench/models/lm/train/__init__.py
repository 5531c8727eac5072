"""Training of language models: fine-tuning, preferences, losses."""
