"""The page around a report: safe text, tables, style. Imports the standard library only.

Text becomes HTML in one way: everything that is not `Html` yet is escaped. The page runs no script
and loads nothing; its policy tells the browser so too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final


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
        f' {key.rstrip("_").replace("_", "-")}="{html(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
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
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        # No script, no request: whatever a table or a file name tries.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{html(title)}</title><style>{_STYLE}{classes}</style></head>"
    )
    return f"{head}\n<body>{''.join(html(part) for part in body)}</body></html>\n"


_STYLE: Final = """
:root { --ink: #1f2a44; --quiet: #5b6679; --paper: #fff; --panel: #f5f7fb; --line: #dfe5f1;
  --accent: #0072b2; --warn: #8a4b00; --warn-panel: #fff6e5; --unsure: #c9cfdb; --none: #e9edf5;
  --edge: #1f2a4433 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf3; --quiet: #9aa6bd; --paper: #12161f;
  --panel: #1b2130; --line: #2c3550; --accent: #56b4e9; --warn: #ffc46b; --warn-panel: #2b2415;
  --unsure: #4a5570; --none: #232b3d; --edge: #e6eaf322 } }
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth }
body { margin: 0 auto; padding: 3.5rem 1.5rem 5rem; max-width: 62rem; background: var(--paper);
  color: var(--ink); font: 1.0625rem/1.65 system-ui, -apple-system, "Segoe UI", sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: break-word }
h1, h2, .lead, .big { font-family: "Iowan Old Style", "Palatino Linotype", Palatino, "Book Antiqua",
  Georgia, serif; font-weight: 500; line-height: 1.2; letter-spacing: -.01em }
h1 { font-size: clamp(1.9rem, 5vw, 2.7rem); margin: .2rem 0 .8rem }
h2 { font-size: 1.6rem; margin: 0 0 1rem }
h3 { font-size: 1.0625rem; font-weight: 600; margin: 2.2rem 0 .5rem }
section { margin-top: 4.5rem } p, ul, ol { max-width: 42rem; margin: 0 0 1rem } li { margin: .4rem 0 }
.kicker { margin: 0; color: var(--accent); font-size: .85rem; font-weight: 600;
  letter-spacing: .06em; text-transform: uppercase }
.lead { font-size: 1.3rem; line-height: 1.5; font-weight: 400; letter-spacing: 0 }
.quiet, figcaption, caption, dt { color: var(--quiet); font-size: .9rem; line-height: 1.5 }
.notice { max-width: none; margin: 1.5rem 0; padding: 1rem 1.25rem; background: var(--warn-panel);
  border-left: 4px solid var(--warn); border-radius: 0 6px 6px 0 } .notice strong { color: var(--warn) }
dl.about { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.5rem; margin: 1.5rem 0;
  padding: 1.25rem 0; border-block: 1px solid var(--line) } dd { margin: 0 } dt { line-height: 1.85 }
nav ul { display: flex; flex-wrap: wrap; gap: .1rem 1.25rem; list-style: none; padding: 0;
  max-width: none } nav li { margin: 0 } a { color: var(--accent); text-underline-offset: .2em }
.skip { position: absolute; left: -999rem } .skip:focus { position: static }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr));
  gap: 1.75rem 2rem; margin: 2rem 0 2.25rem; padding: 0; max-width: none; list-style: none }
.figures li { margin: 0; border-top: 2px solid var(--line); padding-top: .75rem }
.big { display: block; font-size: 2.4rem } .what { font-weight: 600; display: block }
figure { margin: 1.25rem 0 1.75rem } figcaption { margin-top: .6rem; max-width: 42rem }
.plot { display: grid; grid-template-columns: 2.9rem minmax(0, 1fr); column-gap: .5rem }
.plot svg { display: block; width: 100%; overflow: visible }
.y { display: flex; flex-direction: column; justify-content: space-between; align-items: flex-end;
  font-size: .75rem; line-height: 1; color: var(--quiet); margin: -.35em 0 }
.field { fill: var(--panel) } .area { height: 9rem } .strip { height: .75rem; margin-top: .3rem }
.x { position: relative; grid-column: 2; height: 1.5rem; font-size: .75rem; color: var(--quiet) }
.x span { position: absolute; top: .35rem; transform: translateX(-50%); white-space: nowrap }
.x span:first-child { transform: none } .x .last { transform: translateX(-100%) }
.cu { fill: var(--unsure); background: var(--unsure) } .cn { fill: var(--none); background: var(--none) }
.ca { fill: var(--accent); background: var(--accent) }
.band { fill: var(--accent); opacity: .18 } .rule { stroke: var(--quiet); stroke-width: 1 }
.grid { stroke: var(--line); stroke-width: 1 } .curve { stroke: var(--accent); stroke-width: 2;
  fill: none; stroke-linejoin: round } .dash { stroke-dasharray: 3 3 }
.whisker { stroke: var(--ink); stroke-width: 1.5 } .dot { stroke: var(--ink); stroke-width: 8;
  stroke-linecap: round } .hole { stroke: var(--paper); stroke-width: 4; stroke-linecap: round }
svg * { vector-effect: non-scaling-stroke } .mark { stroke: var(--edge); stroke-width: 1 }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 0 0 .75rem; padding: 0;
  list-style: none; max-width: none; font-size: .9rem } .legend li { margin: 0 }
.chip { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .45em;
  box-shadow: 0 0 0 1px var(--edge) }
.small { display: grid; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); gap: 1.25rem 1.5rem }
.small figure { margin: 0 } .small .area { height: 5.5rem } .small h4 { margin: 0 0 .4rem;
  font-size: .9rem; font-weight: 600 }
.wide { overflow-x: auto; margin: 1.25rem 0 1.75rem } table { border-collapse: collapse; min-width: 60% }
caption { text-align: left; padding-bottom: .5rem } th, td { padding: .45rem .9rem .45rem 0;
  text-align: right; font-weight: 400; vertical-align: middle } tbody tr { border-top: 1px solid var(--line) }
th:first-child { text-align: left; white-space: nowrap } thead th { color: var(--quiet); font-size: .85rem;
  vertical-align: bottom } tr > :last-child { padding-right: .2rem } .bar { width: 40%; min-width: 9rem }
td svg { display: block; width: 100%; height: 1.2rem; overflow: visible } .text td { text-align: left }
.matrix td, .matrix thead th { text-align: center; padding: .4rem .5rem } .matrix { min-width: 0 }
.names th:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 8rem }
details { margin: .5rem 0 1.25rem } summary { cursor: pointer; color: var(--accent); font-size: .9rem }
.faces { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: 1.25rem;
  padding: 0; list-style: none; max-width: none } .faces li { margin: 0 } .faces img { display: block;
  width: 100%; aspect-ratio: 1; border-radius: 6px; margin-bottom: .4rem; background: var(--panel) }
footer { margin-top: 4.5rem; padding-top: 1.25rem; border-top: 1px solid var(--line) }
@media (max-width: 36rem) { body { padding: 2rem 1rem 3rem; font-size: 1rem } section { margin-top: 3.25rem }
  dl.about { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .6rem } .lead { font-size: 1.15rem }
  .figures { grid-template-columns: 1fr 1fr; gap: 1.25rem } .big { font-size: 1.9rem }
  .plot { grid-template-columns: 2.2rem minmax(0, 1fr) } .bar { min-width: 6rem } .small {
  grid-template-columns: 1fr 1fr } }
@media print { @page { size: A4; margin: 18mm 16mm }
  :root { --ink: #1f2a44; --quiet: #4a5568; --paper: #fff; --panel: #f5f7fb; --line: #cfd6e4;
    --accent: #005f96; --warn: #7a4200; --warn-panel: #fff6e5; --unsure: #c9cfdb; --none: #e9edf5;
    --edge: #1f2a4433 }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact }
  body { max-width: none; padding: 0; font-size: 10.5pt; line-height: 1.5 }
  h1 { font-size: 24pt } h2 { font-size: 16pt } .lead { font-size: 13pt } .big { font-size: 22pt }
  nav, .skip, details:not([open]) { display: none } section { margin-top: 2.2rem }
  h2, h3, h4, caption { break-after: avoid } figure, .notice, li, tr, .figures, .small > *, dl.about {
    break-inside: avoid } thead { display: table-header-group } .wide { overflow: visible }
  p { orphans: 3; widows: 3 } .area { height: 7rem } a { color: inherit; text-decoration: none } }
"""
