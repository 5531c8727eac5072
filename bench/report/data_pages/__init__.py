"""Pages about data sets: counts, charts, descriptions."""
