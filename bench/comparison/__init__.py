"""Two methods side by side, wherever their numbers come from.

`systems` reads results and refuses what was edited, `outside` reads rankings made elsewhere, `pair`
compares two of them, `wording` puts the outcome into a table and one sentence.
"""
