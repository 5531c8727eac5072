"""What a run needs from outside, taken along in a folder to where there is no network."""
