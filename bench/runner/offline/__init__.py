"""Offline bundles: a folder with all that a run needs, for a machine without a network."""
