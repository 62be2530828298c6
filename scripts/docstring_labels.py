"""Sets the labels of our docstrings (Forward, Gradient, Input shape, Reference) as bold paragraphs.

An extension of griffe, which reads the docstrings for the reference pages. Without it some labels
become boxes and others plain text, depending on the line above.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

# `Forward: text`, or `Input shape:` alone; lines of its text that follow are indented.
LABEL = re.compile(
    r"^(?P<label>Forward|Gradient|(?:Activations|Weights), (?:forward|gradient)"
    r"|Input shape|Output shape|Reference|Papers?|Environment):"
    r"(?P<text>.*\n?(?:[ ]{4}.*\n?)*)",
    re.MULTILINE,
)


def paragraphs(docstring: str) -> str:
    """Returns the docstring with each label and its text as a Markdown paragraph."""
    return LABEL.sub(_paragraph, docstring)


def _paragraph(match: re.Match[str]) -> str:
    lines = [line.strip() for line in match["text"].strip().splitlines()]
    # What describes a name (`NAME: text`) is a list; everything else is running text.
    items = [re.sub(r"^([A-Z_]+): ", r"\n- `\1`: ", line) for line in lines]
    return f"\n**{match['label']}:** " + "\n".join(items) + "\n\n"


class DocstringLabels(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrites the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = paragraphs(obj.docstring.value)
