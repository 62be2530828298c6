"""Text for people: without control sequences, and with numbers of things.

Text from servers, peers and files is shown in messages. Escape codes in it could change what a
terminal shows or does, and direction marks could reverse a line.
"""

from __future__ import annotations

import re

__all__ = ["STEERING", "counted", "plain", "plain_lines"]

# Control characters, direction marks, and characters that end a line.
STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    r"""Returns text on one line, with control characters escaped as in Python: `\x1b`."""
    return STEERING.sub(lambda match: ascii(match[0])[1:-1], text)


def plain_lines(text: str) -> str:
    """Returns text with several lines, each of them `plain`."""
    return "\n".join(map(plain, text.split("\n")))


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun: "1 image", "2,000 images", "10 classes"."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"
