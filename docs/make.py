"""Build the documentation: python docs/make.py [FOLDER], by default `build/docs`.

The Markdown files in this folder are written by hand; the other pages are generated from code,
cards and the command tree (`docs/pages/`), so that everything in `bench list` has a page. Zensical
builds the site, `FOLDER/site/index.html`, which loads nothing from a network; its search needs a
server, such as `python -m http.server -d build/docs/site`. A broken link is an error.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from pages import cards, methods, reference, register

HERE = Path(__file__).parent
COPIED = {".md", ".css", ".png"}


def generate_pages() -> dict[str, str]:
    """Generate all pages that are not written by hand, by file name."""
    root = HERE.parent
    return {
        **dict(methods.pages()),
        **dict(cards.pages()),
        "how-to-read.md": (
            root / "bench" / "report" / "render" / "templates" / "how-to-read.md"
        ).read_text(encoding="utf-8"),
        "metrics.md": reference.metrics_page(),
        "commands.md": reference.commands_page(),
        "register.md": register.page(),
        "contributing.md": (root / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        "changelog.md": (root / "CHANGELOG.md").read_text(encoding="utf-8"),
    }


def expand_entry(entry: Any, names: list[str]) -> Any:
    """Expand the menu entry of a folder's index page to all pages of the folder."""
    ((title, content),) = entry.items()
    if isinstance(content, list):
        return {title: [expand_entry(each, names) for each in content]}
    folder, _, _ = content.rpartition("/")
    if not folder:
        return entry
    pages = [name for name in names if name.startswith(f"{folder}/") and name != content]
    return {title: [content, *({Path(name).stem: name} for name in pages)]}


def menu_files(entries: list[Any]) -> list[str]:
    """List the files of a menu."""
    files: list[str] = []
    for entry in entries:
        for content in entry.values() if isinstance(entry, dict) else [entry]:
            files += menu_files(content) if isinstance(content, list) else [content]
    return files


def write_sources(folder: Path) -> Path:
    """Write all pages and the site's configuration to a folder; return the configuration's path."""
    pages = folder / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir(parents=True)
    for file in HERE.iterdir():
        if file.suffix in COPIED:
            shutil.copy(file, pages)
    generated = generate_pages()
    for name, content in generated.items():
        (pages / name).parent.mkdir(exist_ok=True)
        (pages / name).write_text(content, encoding="utf-8")
    site = yaml.safe_load((HERE / "site.yml").read_text(encoding="utf-8"))
    site["nav"] = [expand_entry(entry, list(generated)) for entry in site["nav"]]
    missing = [name for name in menu_files(site["nav"]) if not (pages / name).is_file()]
    if missing:
        raise SystemExit(f"docs/site.yml names pages that do not exist: {', '.join(missing)}.")
    config = folder / "mkdocs.yml"
    config.write_text(yaml.safe_dump(site, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return config


def main() -> int:
    """Build the site."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "build" / "docs"
    config = write_sources(folder.resolve())
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", str(config)]
    return subprocess.run(command, check=False).returncode  # noqa: S603 (our own command)


if __name__ == "__main__":
    raise SystemExit(main())
