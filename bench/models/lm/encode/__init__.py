"""Sentence encoders, hidden states and grounding."""
