"""Draws docs/binary_convolution.svg: how a binary convolution becomes XNOR and popcount.

python scripts/draw_binary_convolution.py
"""

from __future__ import annotations

from pathlib import Path

PATH = Path(__file__).parents[1] / "docs" / "binary_convolution.svg"

X = (0.7, -1.2, 0.1, -0.4, 0.9, 0.3, -0.2, -0.8)
W = (0.2, -0.1, -0.5, 0.3, 0.4, 0.1, -0.6, 0.2)
# Colours that can be read on white and on black.
INK, ONE, ZERO = "#808080", "#4c8fd6", "#d6743c"
LEFT, STEP, TOP, LINE = 150, 62, 34, 46


def cell(column: int, row: int, text: str, color: str = INK) -> str:
    """Returns a number in a box."""
    x, y = LEFT + column * STEP, TOP + row * LINE
    return (
        f'<rect x="{x - 26}" y="{y - 19}" width="52" height="28" rx="4" fill="none" '
        f'stroke="{color}"/><text x="{x}" y="{y}" text-anchor="middle" fill="{color}">{text}</text>'
    )


def label(row: int, text: str) -> str:
    """Returns the name of a row."""
    return f'<text x="{LEFT - 44}" y="{TOP + row * LINE}" text-anchor="end">{text}</text>'


def main() -> None:
    """Writes the drawing."""
    signs = [[1 if value >= 0 else -1 for value in row] for row in (X, W)]
    equal = [int(a == b) for a, b in zip(*signs, strict=True)]
    count, total = sum(equal), sum(a * b for a, b in zip(*signs, strict=True))
    assert total == 2 * count - len(X)
    parts = []
    for row, (name, values) in enumerate((("activations x", X), ("weights w", W))):
        parts.append(label(row, name))
        parts += [cell(i, row, f"{value:+.1f}") for i, value in enumerate(values)]
    for row, name, bits in (
        (2, "sign(x)", [sign > 0 for sign in signs[0]]),
        (3, "sign(w)", [sign > 0 for sign in signs[1]]),
        (4, "XNOR", equal),
    ):
        parts.append(label(row, name))
        parts += [cell(i, row, str(int(b)), ONE if b else ZERO) for i, b in enumerate(bits)]
    middle = TOP + 5 * LINE
    sums = [
        f"popcount = {count}, so the sum of the products is 2 × {count} − {len(X)} = {total:+d}",
        "An instruction takes 64 to 512 bits; a multiply-add takes 4 to 16 floats.",
    ]
    parts += [
        f'<text x="{LEFT - 26}" y="{middle + 22 * i}">{text}</text>' for i, text in enumerate(sums)
    ]
    width, height = LEFT + len(X) * STEP, middle + 34
    PATH.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" fill="{INK}" '
        f'font-family="sans-serif" font-size="14">\n' + "\n".join(parts) + "\n</svg>\n"
    )


if __name__ == "__main__":
    main()
