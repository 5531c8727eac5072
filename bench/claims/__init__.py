"""Claims of the papers as checks that a program can make.

The way through the room: `checks` (one class a form) → `cards` (a paper's claims, from
`leaderboards/claims/*.toml`, multiplied out into cells) → `printed`, which judges the paper's own
numbers by the arithmetic of `forms`, and `ours`, which judges runs by tests (`rows`, `sweeps`,
`differences`). `verdict` has the words that both use. The two verdicts of a claim stand side by
side; neither replaces the other.
"""
