"""Text for a terminal, without what steers one.

What servers, peers and files say ends up in messages. Escape codes in it could change what a
terminal shows, or what it does; marks of direction could turn a line round.
"""

from __future__ import annotations

import re

__all__ = ["STEERING", "plain", "plain_lines"]

# Control characters, marks of direction, and characters that end a line.
STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    r"""Returns a text on one line, what steers a terminal as Python writes it: `\x1b`."""
    return STEERING.sub(lambda match: ascii(match[0])[1:-1], text)


def plain_lines(text: str) -> str:
    """Returns a text of several lines, each of them `plain`."""
    return "\n".join(map(plain, text.split("\n")))
