"""Data sets, preprocessing and class names; NumPy and Pillow, no Keras."""

from __future__ import annotations

from bnnzoo.data import labels, preprocessing
from bnnzoo.data.arrays import from_arrays
from bnnzoo.data.source import Item, Skipped, Source
from bnnzoo.data.sources import open_source

__all__ = ["Item", "Skipped", "Source", "from_arrays", "labels", "open_source", "preprocessing"]
