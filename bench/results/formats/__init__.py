"""Results and prepared data in the file formats of other tools."""
