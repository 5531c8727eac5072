"""Boards: results become tables, and tables become pages.

The way through the room: `samples` (results and case tables) → `assemble` with `verdicts` →
`table.BoardTable`, which holds all that a page says → `terminal`, `markdown`, `html` with
`figures`, `spreadsheet` → `pages`, which alone writes files.
"""
