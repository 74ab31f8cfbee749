"""Pieces of a self-contained HTML page: escaped text, tables that scroll and can be read aloud, figures as data."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from georelay.report.glossary import TERMS
from georelay.report.style import POLICY, SCRIPT, STYLE

SVG_WIDTH, SVG_HEIGHT, SVG_EDGE = 150, 18, 6


def page(title: str, body: str) -> str:
    """A whole HTML document."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><link rel="icon" href="data:,">'
    named = f"<title>{escape(title)}</title><style>{STYLE}</style>"
    script = f"<script>{SCRIPT}</script>"
    return f'<!doctype html>\n<html lang="en"><head>{head}{policy}{named}</head>\n<body>{body}{script}</body></html>\n'


def section(identifier: str, title: str, *parts: str) -> str:
    """A section that the navigation can jump to."""
    inner = "\n".join(part for part in parts if part)
    name, heading = escape(identifier), f"{escape(identifier)}-title"
    head = f'<section id="{name}" aria-labelledby="{heading}">\n<h2 id="{heading}">{escape(title)}</h2>'
    return f"{head}\n{inner}\n</section>\n"


def titled(title: str, *parts: str) -> str:
    """Parts under a heading within a section; nothing where there are none."""
    inner = "\n".join(part for part in parts if part)
    return f"<h3>{escape(title)}</h3>\n{inner}" if inner else ""


def folded(title: str, *parts: str) -> str:
    """Parts that a click on their title shows; nothing where there are none."""
    inner = "\n".join(part for part in parts if part)
    return f"<details><summary>{escape(title)}</summary>\n{inner}</details>" if inner else ""


def navigation(entries: Sequence[tuple[str, str]]) -> str:
    """Links to the sections."""
    links = "".join(f'<li><a href="#{escape(target)}">{escape(title)}</a></li>' for target, title in entries)
    return f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n'


def words(text: str) -> str:
    """Plain text as HTML, what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def table(caption: str, head: Sequence[str], body: Sequence[Sequence[str]], text: Sequence[str] = ()) -> str:
    """A table whose cells are HTML already; columns named in `text` are left-aligned. Scrolls by itself when too wide."""
    kinds = [' class="text"' if name in text else "" for name in head]
    top = "".join(f'<th scope="col"{kind}>{_term(name)}</th>' for name, kind in zip(head, kinds, strict=True))
    lines = "\n".join(f"<tr>{_line(cells, kinds)}</tr>" for cells in body)
    sortable = ' class="sortable"' if len(body) > 1 else ""
    # tabindex: a region that scrolls must be reachable by keyboard.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table{sortable}><caption><span>{escape(caption)}</span></caption>"
        f"<thead><tr>{top}</tr></thead>\n<tbody>{lines}</tbody></table></div>"
    )


def _term(name: str) -> str:
    return f'<abbr title="{escape(TERMS[name])}">{escape(name)}</abbr>' if name in TERMS else escape(name)


def _line(cells: Sequence[str], kinds: Sequence[str]) -> str:
    rest = "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(cells[1:], kinds[1:], strict=True))
    return f'<th scope="row">{cells[0]}</th>{rest}'


def facts(caption: str, found: Mapping[str, str]) -> str:
    """What has a name and a value, one below the other."""
    body = [[escape(name), f"<code>{escape(value)}</code>"] for name, value in found.items()]
    return table(caption, ["what", "value"], body, ("value",)) if body else ""


def picture(data: bytes, description: str, kind: str = "") -> str:
    """A PNG inside the page."""
    named = f' class="{kind}"' if kind else ""
    return f'<img{named} alt="{escape(description)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'


def figure(path: Path, description: str, caption: str) -> str:
    """A drawn PNG with its caption, or a line that says which file is missing."""
    if not path.is_file():
        return f'<p class="soft">No figure: {escape(path.name)} has not been written.</p>'
    # tabindex: on narrow screens it scrolls.
    shown = picture(path.read_bytes(), description)
    return f'<figure class="drawn" tabindex="0">{shown}<figcaption>{escape(caption)}</figcaption></figure>'


def items(lines: Sequence[str], kind: str = "") -> str:
    """A list of HTML lines; nothing for none."""
    named = f' class="{kind}"' if kind else ""
    return f"<ul{named}>{''.join(f'<li>{line}</li>' for line in lines)}</ul>" if lines else ""


def definitions(terms: Mapping[str, str]) -> str:
    """Terms with what they mean."""
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(text)}.</dd>' for name, text in terms.items())}</dl>"


def interval_picture(difference: float, low: float, high: float, reach: float, verdict: str) -> str:
    """A difference as a dot on its interval beside a line at zero; `reach` is what half of the width stands for.

    Hidden from those who listen, as the numbers stand beside it.
    """
    if math.isnan(low) or reach <= 0:
        return ""
    middle, height = SVG_WIDTH / 2, SVG_HEIGHT / 2
    left, dot, right = (middle + value / reach * (middle - SVG_EDGE) for value in (low, difference, high))
    return (
        f'<svg class="{verdict}" width="{SVG_WIDTH}" height="{SVG_HEIGHT}" aria-hidden="true">'
        f'<line class="zero" x1="{middle}" x2="{middle}" y1="0" y2="{SVG_HEIGHT}"/>'
        f'<line class="bar" x1="{left:.1f}" x2="{right:.1f}" y1="{height}" y2="{height}"/>'
        f'<circle class="dot" cx="{dot:.1f}" cy="{height}" r="4"/></svg>'
    )
