"""Pieces of a self-contained HTML page: escaped text, tables that scroll and can be read aloud, figures as data.

No script, no request to anywhere: the page forbids both to itself by its content security policy.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from georelay.report.tables import interval, points

STYLE = """
:root { color-scheme: light; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --ground: #f6f8fa; --link: #0550ae; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; font: 16px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
header, main, footer { max-width: 70rem; margin: 0 auto; padding: 0 1.25rem; }
h1 { font-size: 1.8rem; margin: 1.5rem 0 .25rem; } h2 { font-size: 1.4rem; margin: 0 0 .5rem; }
h3 { font-size: 1.1rem; margin: 1.5rem 0 .5rem; }
section { padding: 1.75rem 0 1rem; scroll-margin-top: 2rem; } section + section { border-top: 1px solid var(--line); }
p, ul { max-width: 48rem; }
a { color: var(--link); } code { font-size: .875em; overflow-wrap: anywhere; }
nav { position: sticky; top: 0; z-index: 3; background: #fff; border-bottom: 1px solid var(--line); overflow-x: auto; }
nav ul { display: flex; gap: 1.25rem; max-width: 70rem; margin: 0 auto; padding: .5rem 1.25rem; }
nav ul { list-style: none; white-space: nowrap; }
.skip { position: absolute; left: -99rem; } .skip:focus { position: static; }
:focus-visible { outline: 3px solid #0969da; outline-offset: 2px; }
.soft, figcaption, caption { color: var(--soft); } figcaption, caption { font-size: .9rem; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: separate; border-spacing: 0; font-size: .92rem; } caption { text-align: left; padding-bottom: .35rem; }
caption span { display: inline-block; position: sticky; left: 0; max-width: calc(100vw - 2.5rem); }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
td { font-variant-numeric: tabular-nums; }
thead th { background: var(--ground); vertical-align: bottom; }
tbody th { font-weight: 600; } .text { text-align: left; } td.text { white-space: normal; min-width: 9rem; }
.why { display: block; font-size: .88em; color: var(--soft); white-space: normal; }
th:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
thead th:first-child { background: var(--ground); }
figure { margin: 1.25rem 0; } img { max-width: 100%; height: auto; display: block; }
svg { display: inline-block; vertical-align: middle; }
.verdict { font-weight: 600; } .better { color: #0a6640; } .worse { color: #a40e26; }
.open { color: var(--soft); font-weight: 400; }
details { margin: .75rem 0; } summary { cursor: pointer; font-weight: 600; }
@media (max-width: 40rem) {
  body { font-size: 15px; } h1 { font-size: 1.45rem; } th, td { padding: .25rem .45rem; }
  th:first-child { max-width: 9rem; white-space: normal; overflow-wrap: break-word; }
  figure.wide { overflow-x: auto; } figure.wide img { max-width: none; }
}
@media print { nav, .skip { display: none; } section { break-inside: avoid-page; } }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
SVG_WIDTH, SVG_HEIGHT = 150, 18


def page(title: str, body: str) -> str:
    """A whole HTML document."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><link rel="icon" href="data:,">'
    named = f"<title>{escape(title)}</title><style>{STYLE}</style>"
    return f'<!doctype html>\n<html lang="en"><head>{head}{policy}{named}</head>\n<body>{body}</body></html>\n'


def section(identifier: str, title: str, *parts: str) -> str:
    """A section that the navigation can jump to."""
    inner = "\n".join(part for part in parts if part)
    name, heading = escape(identifier), f"{escape(identifier)}-title"
    head = f'<section id="{name}" aria-labelledby="{heading}">\n<h2 id="{heading}">{escape(title)}</h2>'
    return f"{head}\n{inner}\n</section>\n"


def navigation(entries: Sequence[tuple[str, str]]) -> str:
    """Links to the sections."""
    links = "".join(f'<li><a href="#{escape(target)}">{escape(title)}</a></li>' for target, title in entries)
    return f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n'


def table(caption: str, head: Sequence[str], body: Sequence[Sequence[str]], text: Sequence[str] = ()) -> str:
    """A table whose cells are HTML already; columns named in `text` are left-aligned. Scrolls by itself when too wide."""
    kinds = ['class="text"' if name in text else "" for name in head]
    top = "".join(f'<th scope="col" {kind}>{escape(name)}</th>' for name, kind in zip(head, kinds, strict=True))
    lines = "\n".join(f"<tr>{_line(cells, kinds)}</tr>" for cells in body)
    # tabindex: a region that scrolls must be reachable by keyboard.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption><span>{escape(caption)}</span></caption>"
        f"<thead><tr>{top}</tr></thead>\n<tbody>{lines}</tbody></table></div>"
    )


def _line(cells: Sequence[str], kinds: Sequence[str]) -> str:
    rest = "".join(f"<td {kind}>{cell}</td>" for cell, kind in zip(cells[1:], kinds[1:], strict=True))
    return f'<th scope="row">{cells[0]}</th>{rest}'


def figure(path: Path, description: str, caption: str, wide: bool = False) -> str:
    """A PNG inside the page, or a line that says which file is missing."""
    if not path.is_file():
        return f'<p class="soft">No figure: {escape(str(path))} has not been written.</p>'
    data = base64.b64encode(path.read_bytes()).decode()
    kind = ' class="wide" tabindex="0"' if wide else ""
    picture = f'<img alt="{escape(description)}" src="data:image/png;base64,{data}">'
    return f"<figure{kind}>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def items(lines: Sequence[str]) -> str:
    """A list of HTML lines; nothing for none."""
    return f"<ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>" if lines else ""


def interval_picture(difference: float, low: float, high: float, reach: float) -> str:
    """A difference as a dot on its interval beside a line at zero; `reach` is what half of the width stands for."""
    if math.isnan(low) or reach <= 0:
        return ""
    middle, height = SVG_WIDTH / 2, SVG_HEIGHT / 2
    left, dot, right = (middle + value / reach * (middle - 6) for value in (low, difference, high))
    colour = "#0a6640" if low > 0 else "#a40e26" if high < 0 else "#57606a"
    told = escape(f"{points(difference, True)} {interval(low, high)}")
    return (
        f'<svg width="{SVG_WIDTH}" height="{SVG_HEIGHT}" role="img" aria-label="{told}">'
        f'<line x1="{middle}" x2="{middle}" y1="0" y2="{SVG_HEIGHT}" stroke="#8c959f" stroke-dasharray="2 2"/>'
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{height}" y2="{height}" stroke="{colour}" stroke-width="2.5"/>'
        f'<circle cx="{dot:.1f}" cy="{height}" r="4" fill="{colour}"/></svg>'
    )


def verdict(low: float, high: float) -> str:
    """What an interval says in a word."""
    if math.isnan(low):
        return '<span class="verdict open">no interval</span>'
    kind, word = ("better", "better") if low > 0 else ("worse", "worse") if high < 0 else ("open", "undecided")
    return f'<span class="verdict {kind}">{word}</span>'
