"""Curves in a terminal, drawn with Braille dots: two to the side and four high in each character."""

from __future__ import annotations

from collections.abc import Sequence

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_EMPTY = 0x2800


def curve(name: str, values: Sequence[float], width: int, height: int) -> list[str]:
    """Lines of text: a head with the first, least, greatest and last value, then the picture."""
    finite = [v for v in values if v == v and abs(v) != float("inf")]
    if not finite:
        return [f"   {name}  (no finite values)"]
    low, high = min(finite), max(finite)
    labels = [f"{high:.4g}", f"{low:.4g}"]
    margin = max(map(len, labels))
    columns = max(8, width - margin - 4)
    cells = [[_EMPTY] * columns for _ in range(height)]
    dots = columns * 2
    before: int | None = None
    for x in range(dots):
        value = finite[round(x / (dots - 1) * (len(finite) - 1))]
        share = (value - low) / (high - low) if high > low else 0.5
        y = round((1 - share) * (height * 4 - 1))
        for between in range(min(y, before), max(y, before) + 1) if before is not None else (y,):
            cells[between // 4][x // 2] |= _DOTS[x % 2][between % 4]
        before = y
    lines = [f"   {name}  {finite[0]:.4g} → {finite[-1]:.4g}  ({len(finite)} values)"]
    for number, row in enumerate(cells):
        label = labels[0] if number == 0 else labels[1] if number == height - 1 else ""
        lines.append(f"   {label:>{margin}} ┤{''.join(map(chr, row)).rstrip(chr(_EMPTY))}")
    return lines
