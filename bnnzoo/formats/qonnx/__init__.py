"""Writes and reads QONNX: ONNX with low-bit operators, the format of FINN and hls4ml.

Bits remain float32 values -1 and +1 between BipolarQuant nodes, so that tools without support for
bits can run the file. For tools with such support, the data types of tensors are annotated. Images
are channels first, as these tools expect. Nothing is fused.

Writing: a graph is converted to a drawing (`arranging`, `operations`, `drawing`), and the drawing
to bytes (`model_proto`). Reading: the bytes are parsed to plain data (`onnx_file`), and every
operator is converted to nodes of a graph (`reading`, `reading_operators`) or to a constant
(`folding`).

See the specification, https://github.com/fastmachinelearning/qonnx/tree/main/docs.
"""

from bnnzoo.formats.qonnx.reader import from_bytes, read
from bnnzoo.formats.qonnx.writer import drawn, write

__all__ = ["drawn", "from_bytes", "read", "write"]
