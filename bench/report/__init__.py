"""Boards: results become tables, and tables become pages.

The way through the room: `bench.results.load` (results and case tables) → `assemble` with `cells`,
`paper` (the paper's numbers) and `significance` (statistics) → `table.BoardTable`, which holds all
that a page says of metrics → `claims.section` adds the claims. Apart from it `costs` holds cost and
training. Both go to `render.terminal`, `render.markdown`, `render.exports` (CSV, LaTeX, JSON),
`render.html` with `render.figures`, `render.charts`, `render.cell_details` → `render.pages`, which
alone writes files.
"""
