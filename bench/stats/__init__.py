"""Statistics of comparisons: paired tests, label swaps, intervals, corrections and power.

`sample` holds one method's results; `paired` tests means over cases, `tally`, `swap` and
`intervals` set-level metrics; `compare` corrects families of tests; `seeds` reports the variance
between seeds; `descriptions` has the sentence for each of these facts.
"""
