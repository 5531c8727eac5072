"""Renderings of a board: HTML, Markdown, LaTeX, CSV, terminal."""
