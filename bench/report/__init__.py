"""Reports: results become tables, and tables become pages.

`bench.results.load` (results) → `assemble` with `cells`, `paper` (published numbers) and
`significance` (statistics) → `table.BoardTable`, to which `claims.judge` adds the claims.
`render` writes it for the terminal and as Markdown, HTML, LaTeX, CSV and JSON; costs and training
curves come from the results directly (`costs`, `bench.results.curves`).
"""
