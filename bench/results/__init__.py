"""Results: schema, loading, merging, scoring of outside files."""
