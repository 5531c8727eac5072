"""Language models: loading, batches, decoding, grounding; torch, no plans."""
