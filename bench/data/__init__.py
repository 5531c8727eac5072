"""From raw files to prepared data: assets, readers, filters, split, catalog."""
