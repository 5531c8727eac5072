"""Sequential recommenders on item ids: the networks and how they are fitted; torch, no plans."""
