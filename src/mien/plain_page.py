"""The frame and the look of a plain page: what pages out of examinations and timelines share.

May import the standard library only. Reports have a page of their own, in `report`.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2a44; background: #fff; margin: 2rem auto;
  max-width: 68rem; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: right }
td:first-child, th:first-child { text-align: left } tr + tr { border-top: 1px solid #dfe5f1 }
@media (prefers-color-scheme: dark) { body { background: #12161f; color: #e6eaf3 }
  tr + tr { border-color: #2c3550 } }
"""


def plain_page(title: str, body: Iterable[str], *, style: str) -> bytes:
    """A page that needs nothing from the network.

    Args:
        title: text, which is also the page's first heading.
        body: lines of HTML.
        style: CSS beside what all such pages have.
    """
    lines = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>',
        '<meta name="viewport" content="width=device-width">',
        f"<style>{_STYLE}{style.lstrip()}</style><h1>{escape(title)}</h1>",
        *body,
        "</html>",
    )
    # File names may hold what no text can; the page then shows a mark in its place.
    return "\n".join(lines).encode(errors="replace")
