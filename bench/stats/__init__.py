"""Statistics of comparisons: paired tests, label swaps, intervals, corrections and power.

`samples` holds one method's results; `paired` tests means over cases, `set_metrics`, `label_swap`
and `intervals` set-level metrics; `compare` corrects families of tests; `seed_variance` reports the
variance between seeds; `descriptions` has the sentence for each of these facts.
"""
