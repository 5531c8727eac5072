"""Cards, TOML, settings and their precedence, plug-in discovery."""
