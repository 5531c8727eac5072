"""Statistics of comparisons: paired tests, label swaps, intervals and corrections.

The way through the room: `samples` (what was measured) → `paired` for means over cases, or
`set_metrics` → `label_swap` and `intervals` for set-level metrics → `corrections` → `compare`,
which a board prints. Whether other seeds would change anything is kept apart, in `seed_variance`.
"""
