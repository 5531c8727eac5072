"""Pages of the documentation that are written from code, cards and the command tree."""
