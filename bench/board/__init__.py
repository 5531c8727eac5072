"""Boards: results become tables, and tables become pages.

The way through the room: `samples` (results and case tables) → `assemble` with `cells`, `inprint`
(the paper's numbers) and `judging` (statistics) → `table.BoardTable`, which holds all that a page
says of metrics → `claimed` adds the claims. Apart from it `ledger` holds cost and training. Both go
to `terminal`, `markdown`, `exports` (CSV, LaTeX, JSON), `html` with `figures`, `charts`, `details`
→ `pages`, which alone writes files.
"""
