"""Statistics of comparisons: intervals, tests, corrections and power.

`samples` holds one method's results; `contrasts` combines several, by `set_metrics` for set-level
metrics; `inference` turns their variance over users and seeds into intervals and p-values;
`compare` tests rows and corrects families; `descriptions` has the sentences that say how.
"""
