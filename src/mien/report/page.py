"""The page around a report: safe text, tables, style (`page.css`). Imports nothing of mien.

Text becomes HTML in one way: everything that is not `Html` yet is escaped. The page runs no script
and loads nothing; its policy tells the browser so too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def html(text: object) -> Html:
    """Anything as HTML: escaped, unless it is HTML already.

    What cannot be printed (control characters in a file's name) becomes a visible mark.
    """
    if isinstance(text, Html):
        return text
    shown = str(text)
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else "\ufffd" for c in shown)
    return Html(escape(shown))


def join(parts: Iterable[object]) -> Html:
    """Parts after each other."""
    return Html("".join(html(part) for part in parts))


def tag(name: str, *content: object, **attributes: object) -> Html:
    """An element. `class_` is `class`, and `aria_label` is `aria-label`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in ("br", "img"):  # these have no end
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(content)}</{name}>")


def table(
    heads: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    caption: str,
    class_: str | None = None,
) -> Html:
    """A table with a caption; the first cell of a row is its heading.

    Args:
        heads: of the columns.
        rows: cells, text or `Html`.
        caption: what it shows; also its name for those who do not see it.
        class_: for the style.
    """
    head = tag("tr", *(tag("th", text, scope="col") for text in heads))
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:]))
        for row in rows
    ]
    whole = tag(
        "table", tag("caption", caption), tag("thead", head), tag("tbody", *body), class_=class_
    )
    # Wide tables move sideways within the page; the keyboard must reach them.
    return tag("div", whole, class_="wide", tabindex="0", role="region", aria_label=caption)


def quiet(*content: object) -> Html:
    """A paragraph that steps back."""
    return tag("p", *content, class_="quiet")


def with_ends(value: str, ends: str) -> Html:
    """A figure with its interval in brackets below it."""
    return join((value, " ", tag("span", f"({ends})", class_="ends")))


def folded(summary: str, *content: object) -> Html:
    """Content that opens on demand; left out of print while it is closed."""
    return tag("details", tag("summary", summary), *content)


def section(anchor: str, heading: str, *content: object) -> Html:
    """A part of the page with its heading."""
    return tag(
        "section", tag("h2", heading, id=f"{anchor}-heading"), *content, id=anchor,
        aria_labelledby=f"{anchor}-heading",
    )  # fmt: skip


def document(title: str, colours: Sequence[str], body: Iterable[object]) -> str:
    """The whole page.

    Args:
        title: of the window.
        colours: of the classes 0, 1, ... as `#rrggbb`.
        body: its content.
    """
    classes = "".join(f".c{i}{{fill:{c};background:{c}}}" for i, c in enumerate(colours))
    style = Path(__file__).with_name("page.css").read_text("utf-8")
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        # No script, no request: whatever a table or a file name tries.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{html(title)}</title><style>{style}{classes}</style></head>"
    )
    return f"{head}\n<body>{''.join(html(part) for part in body)}</body></html>\n"
