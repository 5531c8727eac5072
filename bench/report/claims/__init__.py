"""Claims of the papers as checks that a program can make.

The way through the room: `claim_types` (one class a form) → `cards` (a paper's claims, from
`leaderboards/claims/*.toml`, multiplied out into cells) → `published_values`, which judges the
paper's own numbers by the arithmetic of `predicates`, and `reproduced`, which judges runs by tests
(`row_tests`, `sweep_tests`, `interaction_tests`). `verdict` has the words that both use. The two
verdicts of a claim stand side by side; neither replaces the other.
"""
