"""Plain text to Markdown: tables, docstrings, fields of cards. Everything else is escaped."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Sequence

from docstring_parser import Docstring, DocstringStyle, parse
from pydantic import BaseModel

ARXIV = re.compile(r"arXiv[: ](\d{4}\.\d{4,5})")
CODE = re.compile(r"(`[^`]+`)")


def prose(text: str) -> str:
    """Escape what Markdown or HTML would take for its own; code between backticks stays."""
    parts = CODE.split(" ".join(text.split()))
    for place in range(0, len(parts), 2):
        part = parts[place].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        parts[place] = re.sub(r"([|*_\[\]])", r"\\\1", part)
    return "".join(parts)


def paragraphs(text: str) -> str:
    """Escape a text of several paragraphs."""
    return "\n\n".join(prose(one) for one in re.split(r"\n\s*\n", text.strip()))


def code(value: object) -> str:
    """Show a value as code; text as it is, everything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return f"`{text}`" if text else '`""`'


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; columns that are empty in every row are left out."""
    lines = [list(row) for row in rows]
    kept = [place for place in range(len(header)) if any(line[place] for line in lines)]
    shown = [[header[place] for place in kept], ["---"] * len(kept)]
    shown += [[line[place] for place in kept] for line in lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in shown)


def docstring(documented: object) -> Docstring:
    """Parse the docstring of a class, function or module."""
    return parse(documented.__doc__ or "", style=DocstringStyle.GOOGLE)


def about(documented: object) -> str:
    """Return a docstring's sentences, without its sections."""
    read = docstring(documented)
    return paragraphs("\n\n".join(filter(None, (read.short_description, read.long_description))))


def helps(cls: type) -> dict[str, tuple[str, str]]:
    """Map the attributes of a class and its bases to their description and the class it is from."""
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(cls.__mro__):
        own = inspect.get_annotations(base)
        found |= dict.fromkeys(own, ("", base.__name__))
        for param in docstring(base).params if own else ():
            if param.arg_name in found:
                text = prose(param.description or "")
                found[param.arg_name] = (text, found[param.arg_name][1])
    return found


def fields(card: BaseModel, *, leave_out: Sequence[str] = ()) -> str:
    """Write a card's fields as a table: value, whether it is the default, what it means."""
    described = helps(type(card))
    rows = []
    for name, field in type(card).model_fields.items():
        if name in leave_out:
            continue
        value = card.model_dump(mode="json")[name]
        usual = getattr(card, name) == field.get_default(call_default_factory=True)
        rows.append((code(name), code(value), "default" if usual else "", described[name][0]))
    return table(("field", "value", "", "what it is"), rows)


def arxiv_links(*texts: str) -> str:
    """Link the arXiv numbers that texts name."""
    found = dict.fromkeys(number for text in texts for number in ARXIV.findall(text))
    return ", ".join(f"[arXiv {number}](https://arxiv.org/abs/{number})" for number in found)


def anchor(text: str) -> str:
    """Return the anchor that the site gives a heading."""
    from markdown.extensions.toc import slugify

    return str(slugify(text, "-"))


def document(title: str, *parts: str) -> str:
    """Put a page together; empty parts are left out."""
    return "\n\n".join([f"# {title}", *(part.strip("\n") for part in parts if part)]) + "\n"
