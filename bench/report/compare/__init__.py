"""Two methods side by side, wherever their numbers come from.

`systems` reads results and refuses what was edited, `external_ranking` reads rankings made
elsewhere, `pairwise` compares two of them, `text` puts the outcome into a table and one sentence.
"""
