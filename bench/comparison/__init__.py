"""Comparing two methods, from results or from ranking files made elsewhere.

`systems` reads results and refuses edited ones, `outside` reads ranking files, `pair` compares two
of them and writes the table and the sentence for a paper.
"""
