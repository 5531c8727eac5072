"""Comparing two methods, from results or from ranking files made elsewhere.

`systems` reads results and refuses edited ones, `operands` also ranking files, `pairwise` compares
two of them and writes the table and the sentence for a paper.
"""
