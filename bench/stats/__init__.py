"""Statistics of comparisons: paired tests, label swaps, intervals, corrections and power.

`samples` holds one method's results; `contrasts` combines several with an interval, by `paired` for
means over cases, by `set_metrics` and `intervals` for set-level metrics; `compare` tests them and
corrects families; `seed_variance` reports the variance between seeds; `descriptions` has the
sentences that say which method was used.
"""
