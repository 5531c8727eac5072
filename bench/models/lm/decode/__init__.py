"""Decoding: free generation, beam search over titles, exact scores."""
