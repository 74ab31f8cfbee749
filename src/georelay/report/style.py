"""How the page looks and what its one script does: nothing is loaded from anywhere, and no other script may run.

Without the script everything can be read; it lets tables be sorted and opens what is folded before the page is printed.
"""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --edge: #6e7781;
  --ground: #f6f8fa; --link: #0550ae; --good: #0a6640; --bad: #a40e26; --chosen: #0550ae; --on-chosen: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #0d1117; --ink: #e6edf3; --soft: #9da7b1; --line: #3d444d; --edge: #8b949e;
    --ground: #1c2129; --link: #79c0ff; --good: #56d364; --bad: #ff8f87; --chosen: #79c0ff; --on-chosen: #0d1117; }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 3.5rem; }
body { margin: 0; color: var(--ink); background: var(--paper); overflow-wrap: break-word;
  font: 16px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
header, main { max-width: 72rem; margin: 0 auto; padding: 0 1.25rem; }
h1 { font-size: 1.8rem; line-height: 1.25; margin: 1.5rem 0 .25rem; } h2 { font-size: 1.4rem; margin: 0 0 .5rem; }
h3 { font-size: 1.1rem; margin: 1.75rem 0 .5rem; }
section { padding: 1.75rem 0 1rem; } section + section { border-top: 1px solid var(--line); }
p, ul, dl { max-width: 52rem; } li { margin: .3rem 0; } dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0 0 0 1.25rem; }
a { color: var(--link); } code { font-size: .875em; overflow-wrap: anywhere; }
abbr { text-underline-offset: .2em; white-space: nowrap; }
nav { position: sticky; top: 0; z-index: 3; background: var(--paper); border-bottom: 1px solid var(--line); overflow-x: auto; }
nav ul { display: flex; gap: 1.25rem; max-width: 72rem; margin: 0 auto; padding: .5rem 1.25rem; }
nav ul { list-style: none; white-space: nowrap; width: max-content; min-width: min(100%, 72rem); } nav li { margin: 0; }
.skip { position: absolute; left: -99rem; } .skip:focus { position: static; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.soft, figcaption, caption { color: var(--soft); } figcaption, caption { font-size: .9rem; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: separate; border-spacing: 0; font-size: .92rem; } caption { text-align: left; padding-bottom: .35rem; }
caption span { display: inline-block; position: sticky; left: 0; max-width: min(52rem, calc(100vw - 2.5rem)); }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
td { font-variant-numeric: tabular-nums; } td svg { margin-left: .6rem; }
thead th { background: var(--ground); vertical-align: bottom; white-space: normal; min-width: 3.5rem; }
tbody th { font-weight: 600; } th.text, td.text { text-align: left; } td.text { white-space: normal; min-width: 9rem; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); min-width: 15rem; }
tbody th:first-child { white-space: normal; } thead th:first-child { background: var(--ground); }
thead button { all: unset; cursor: pointer; padding: 0 .1rem; } thead button:focus-visible { outline: 3px solid var(--link); }
thead button::after { content: "\\a0\\2195"; color: var(--soft); font-weight: 400; }
[aria-sort=ascending] button::after { content: "\\a0\\2191"; color: var(--ink); }
[aria-sort=descending] button::after { content: "\\a0\\2193"; color: var(--ink); }
.indent { display: block; padding-left: calc(var(--step, 1.1em) * var(--depth)); } .sorted .indent { padding-left: 0; }
.sorted .arrow { display: none; }
.why { display: block; font-size: .88em; font-weight: 400; color: var(--soft); white-space: normal; }
.best { font-weight: 400; font-size: .85em; color: var(--soft); }
figure { margin: 1.25rem 0; } img { max-width: 100%; height: auto; display: block; }
figure.drawn img { background: #fff; border-radius: .25rem; }
svg { display: inline-block; vertical-align: middle; } .zero { stroke: var(--edge); stroke-dasharray: 2 2; }
.helps { color: var(--good); } .hurts { color: var(--bad); } .undecided { color: var(--soft); }
svg .bar { stroke: currentColor; stroke-width: 2.5; } svg .dot { fill: currentColor; }
.verdict { font-weight: 600; } .verdict.undecided { font-weight: 400; }
details { margin: .75rem 0; } summary { cursor: pointer; font-weight: 600; }
.findings li::marker { color: var(--soft); }
.viewer { border: 1px solid var(--line); border-radius: .4rem; margin: 1rem 0; padding: .5rem 1rem 1rem; min-width: 0; }
.viewer legend { font-weight: 600; padding: 0 .4rem; }
.viewer input { position: absolute; opacity: 0; width: 1px; height: 1px; }
.viewer label { display: inline-block; border: 1px solid var(--edge); border-radius: .3rem; padding: .15rem .6rem;
  cursor: pointer; font-size: .92rem; }
.viewer > label { margin-right: .3rem; } .stage > label { display: flex; justify-content: space-between; gap: 1rem; }
.viewer input:checked + label { background: var(--chosen); border-color: var(--chosen); color: var(--on-chosen); }
.viewer input:focus-visible + label { outline: 3px solid var(--link); outline-offset: 2px; }
.kinds { margin: 0 .4rem 0 0; color: var(--soft); font-size: .92rem; }
.stage { display: grid; grid-template: repeat(30, max-content) 1fr / minmax(10rem, 16rem) 1fr; column-gap: 1.25rem;
  margin-top: .75rem; position: relative; }
.stage > label { grid-column: 1; margin-bottom: .3rem; }
.layer { grid-column: 2; grid-row: 1 / -1; display: none; margin: 0; gap: .5rem 1.25rem; flex-wrap: wrap; }
.stage > input:checked + label + .layer { display: flex; }
.layer figcaption { flex: 1 1 12rem; }
.frame { position: relative; width: min(512px, 100%); } .frame img { width: 100%; image-rendering: pixelated; }
.frame .errors, .frame .entropy { display: none; }
.as-errors:checked ~ .stage .prediction, .as-entropy:checked ~ .stage .prediction { display: none; }
.as-errors:checked ~ .stage .errors, .as-entropy:checked ~ .stage .entropy { display: block; }
.scale { position: absolute; left: 3%; bottom: 3%; background: #fff; color: #000; border-bottom: 4px solid #000;
  font-size: .78rem; line-height: 1.3; text-align: left; padding: 0 .15rem; white-space: nowrap; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; list-style: none; padding: 0; font-size: .9rem; }
.swatch { display: inline-block; width: 1em; height: 1em; border: 1px solid var(--edge); vertical-align: -.12em; }
@media (max-width: 44rem) {
  body { font-size: 15px; } h1 { font-size: 1.45rem; } th, td { padding: .25rem .45rem; }
  th:first-child { min-width: 8.5rem; max-width: 8.5rem; } .indent { --step: .5em; }
  figure.drawn { overflow-x: auto; } figure.drawn img { max-width: none; }
  figure.drawn figcaption { position: sticky; left: 0; }
  nav { scrollbar-width: none; background: linear-gradient(to right, var(--paper) 50%, transparent) 0 / 3rem 100% no-repeat local,
    linear-gradient(to left, var(--paper) 50%, transparent) 100% / 3rem 100% no-repeat local,
    linear-gradient(to right, var(--edge), transparent) 0 / .5rem 100% no-repeat scroll,
    linear-gradient(to left, var(--edge), transparent) 100% / .5rem 100% no-repeat scroll var(--paper); }
  nav ul { gap: 1rem; padding: .5rem 1rem; font-size: .95rem; }
  .viewer { padding: .5rem .6rem .75rem; }
  .stage { display: flex; flex-wrap: wrap; gap: .35rem; } .stage > label { margin: 0; gap: .5rem; }
  .layer { order: 1; width: 100%; }
}
@media print {
  :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; --ground: #eee; --link: #000;
    --good: #0a6640; --bad: #a40e26; }
  nav, .skip, td svg { display: none; } .scroll { overflow: visible; } table { font-size: .7rem; }
  th, td, abbr { white-space: normal; padding: .15rem .25rem; } td.text, thead th { min-width: 0; }
  thead button::after { content: none !important; } th:first-child { position: static; min-width: 8rem; }
  figure, .viewer, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
}
"""

# A click, Enter or Space on a heading sorts; the third one brings back the order of the file, with parents above children.
SCRIPT = """
"use strict";
const numberIn = (text) => {
  const found = text.replaceAll("\\u2212", "-").replace(/,(?=\\d{3})/g, "").match(/[+-]?\\d+(\\.\\d+)?/);
  return found ? Number(found[0]) : NaN;
};
const byText = (a, b) => a.localeCompare(b);
const byNumber = (a, b) => numberIn(a) - numberIn(b);
function sortBy(table, rows, column, order, compare) {
  const text = (row) => row.cells[column].textContent.replace("\\u21b3", "").trim();
  const empty = (row) => compare === byNumber && Number.isNaN(numberIn(text(row)));
  const sign = order === "descending" ? -1 : 1;
  const sorted = order === "none" ? rows : [...rows].sort(
    (a, b) => empty(a) - empty(b) || (empty(a) ? 0 : sign * compare(text(a), text(b))));
  table.classList.toggle("sorted", order !== "none");
  table.tBodies[0].append(...sorted);
}
for (const table of document.querySelectorAll("table.sortable")) {
  const rows = [...table.tBodies[0].rows], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const words = column === 0 || head.classList.contains("text");
    const orders = ["none", ...(words ? ["ascending", "descending"] : ["descending", "ascending"])];
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const order = orders[(orders.indexOf(head.getAttribute("aria-sort")) + 1) % orders.length];
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", order);
      sortBy(table, rows, column, order, words ? byText : byNumber);
    });
  });
}
const folded = () => document.querySelectorAll("details:not([open])");
let opened = [];
addEventListener("beforeprint", () => { opened = [...folded()]; for (const part of opened) part.open = true; });
addEventListener("afterprint", () => { for (const part of opened) part.open = false; });
"""

_DIGEST = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
POLICY = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{_DIGEST}'"
