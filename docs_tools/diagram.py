"""Draws the diagrams of the documentation: boxes on a grid and arrows between them, as SVG.

    python docs_tools/diagram.py          # draws docs/**/*.diagram.yaml anew, each beside its source

A drawing is committed with its source, because GitHub shows images but the site must not load a drawing library from
another host. `tests/test_site.py` draws each again and compares.

A source has a `title`, `boxes` by name, with a place (`at`: column and row of the grid), an optional `width` in
columns, a `kind` (`data`, `code` or `state`) and lines of `text`, of which the first is bold; and `arrows`: from, to,
and optionally a label.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import yaml

ROOT = Path(__file__).resolve().parents[1]
SUFFIX = ".diagram.yaml"
_COLUMN, _GAP, _MARGIN = 290, 20, 14
_LINE, _PADDING, _BETWEEN = 18, 12, 34
_COLOURS = {"data": ("#f1f3f5", "#868e96"), "code": ("#e3f4f2", "#00897b"), "state": ("#fff4dc", "#c98a00")}
_STYLE = "font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; font-size: 13.5px"
_TIP = (
    '<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0 10 5 0 10z" fill="#495057"/></marker>'
)


class Box(NamedTuple):
    """A box in the drawing, in pixels, with its lines of text."""

    left: float
    top: float
    width: float
    height: float
    kind: str
    text: list[str]

    @property
    def middle(self) -> float:
        """Where its vertical axis is."""
        return self.left + self.width / 2

    @property
    def bottom(self) -> float:
        """Where its lower edge is."""
        return self.top + self.height

    def spans(self, x: float) -> bool:
        """Return whether a vertical line at `x` goes through it."""
        return self.left < x < self.left + self.width


def draw(source: dict[str, Any]) -> str:
    """Return a diagram as SVG.

    Args:
        source: what the YAML file holds.

    Raises:
        KeyError: an arrow names a box that is not there.
    """
    boxes = _place(source["boxes"])
    width = max(box.left + box.width for box in boxes.values()) + _MARGIN
    height = max(box.bottom for box in boxes.values()) + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img">',
        f"<title>{escape(source['title'])}</title>",
        f"<defs>{_TIP}</defs>",
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
        f'<g style="{_STYLE}" fill="#212529">',
        *(line for box in boxes.values() for line in _box(box)),
        *(line for start, end, *label in source["arrows"] for line in _arrow(boxes[start], boxes[end], label)),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _place(boxes: dict[str, Any]) -> dict[str, Box]:
    heights: dict[int, float] = {}
    for box in boxes.values():
        row = box["at"][1]
        heights[row] = max(heights.get(row, 0), len(box["text"]) * _LINE + _PADDING)
    tops, top = {}, float(_MARGIN)
    for row in sorted(heights):
        tops[row] = top
        top += heights[row] + _BETWEEN
    return {
        name: Box(
            _MARGIN + box["at"][0] * (_COLUMN + _GAP),
            tops[box["at"][1]],
            (columns := box.get("width", 1)) * _COLUMN + (columns - 1) * _GAP,
            heights[box["at"][1]],
            box["kind"],
            box["text"],
        )
        for name, box in boxes.items()
    }


def _box(box: Box) -> list[str]:
    fill, edge = _COLOURS[box.kind]
    lines = [
        f'<rect x="{box.left:g}" y="{box.top:g}" width="{box.width:g}" height="{box.height:g}" rx="6" fill="{fill}" '
        f'stroke="{edge}"/>'
    ]
    first = box.top + (box.height - len(box.text) * _LINE) / 2 + _LINE * 0.72
    for number, text in enumerate(box.text):
        weight = ' font-weight="600"' if number == 0 else ""
        y = first + number * _LINE
        lines.append(f'<text x="{box.middle:g}" y="{y:g}" text-anchor="middle"{weight}>{escape(text)}</text>')
    return lines


def _arrow(start: Box, end: Box, label: list[str]) -> list[str]:
    if start.top == end.top:
        y = start.top + start.height / 2
        x = (start.left + start.width, end.left) if start.left < end.left else (start.left, end.left + end.width)
        path, at = f"M{x[0]:g} {y:g}H{x[1]:g}", (sum(x) / 2, y - 6)
    elif start.spans(end.middle) or end.spans(start.middle):
        x = end.middle if start.spans(end.middle) else start.middle
        path, at = f"M{x:g} {start.bottom:g}V{end.top:g}", (x + 8, (start.bottom + end.top) / 2 + 4)
    else:
        turn = end.top - _BETWEEN / 2
        path = f"M{start.middle:g} {start.bottom:g}V{turn:g}H{end.middle:g}V{end.top:g}"
        at = (start.middle + 8, turn - 5)
    lines = [f'<path d="{path}" fill="none" stroke="#495057" stroke-width="1.4" marker-end="url(#tip)"/>']
    if label:
        lines.append(f'<text x="{at[0]:g}" y="{at[1]:g}" font-size="12" fill="#495057">{escape(label[0])}</text>')
    return lines


def drawing_of(source: Path) -> Path:
    """Return the file in which a source is drawn."""
    return source.with_name(source.name.removesuffix(SUFFIX) + ".svg")


def sources() -> list[Path]:
    """Return the sources of all diagrams."""
    return sorted((ROOT / "docs").glob(f"**/*{SUFFIX}"))


def main() -> int:
    """Draw all diagrams."""
    for source in sources():
        drawing_of(source).write_text(draw(yaml.safe_load(source.read_text(encoding="utf-8"))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
