"""Larq Compute Engine: `.tflite` files with binary operators, written and read.

A graph becomes plain data (`model_file`), and plain data becomes bytes (`serializing`), using the
schema shipped by other packages (`schema`); `parsing` and `reader` do the reverse. Both directions
use `words`: bits in words of 32 channels. `preparing` moves affines and thresholds to where the
writer expects them; `emitting` and `reading_operators` have one row per operation.
"""

from bnnzoo.formats.lce.reader import from_bytes, read
from bnnzoo.formats.lce.writer import write

__all__ = ["from_bytes", "read", "write"]
