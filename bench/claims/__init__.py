"""Claims of the papers as checks that a program can make.

`checks` has one class per claim type, `cards` reads a paper's claims from
`leaderboards/claims/*.toml` and expands each check into cells. `printed` judges the paper's own
numbers with the predicates of `forms`; `ours` judges our results with tests (`rows`, `sweeps`,
`differences`). A claim has both verdicts, in the words of `verdict`.
"""
