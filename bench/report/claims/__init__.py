"""Claims of the papers as checks that a program can make.

`claim_types` has one class per claim type, `cards` reads a paper's claims from
`leaderboards/claims/*.toml` and expands each check into cells. `published_values` judges the
paper's own numbers, `reproduced` our results (`runs`) with tests (`row_tests`, `sweep_tests`). A
claim has both verdicts, in the words of `verdict`.
"""
