"""Larq Compute Engine: `.tflite` files with binary operators, written and read.

A graph becomes plain data (`model_file`), and plain data bytes (`serializing`), by the schema that
other packages ship (`schema`); `parsing` and `reader` are the way back. `words` is what both
directions share: bits in words of 32 channels. `preparing` brings affines and thresholds to where
the writer looks for them, `emitting` and `reading_operators` have one row per operation.
"""

from bnnzoo.formats.lce.reader import from_bytes, read
from bnnzoo.formats.lce.writer import write

__all__ = ["from_bytes", "read", "write"]
