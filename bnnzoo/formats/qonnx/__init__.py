"""QONNX: standard ONNX with operators of few bits, as FINN and hls4ml read it, written and read.

Bits stay float32 -1 and +1 between BipolarQuant nodes, so that tools without support for bits can
run the file; the data types of tensors are annotated for the others. Images are channels first, as
these tools expect; nothing is fused.

Writing: a graph becomes a drawing (`arranging`, `operations`, `drawing`), and a drawing bytes
(`model_proto`). Reading: bytes become plain data (`onnx_file`), and every operator nodes of a graph
(`reading`, `reading_operators`), or a constant (`folding`).

See the specification, https://github.com/fastmachinelearning/qonnx/tree/main/docs.
"""

from bnnzoo.formats.qonnx.reader import from_bytes, read
from bnnzoo.formats.qonnx.writer import drawn, write

__all__ = ["drawn", "from_bytes", "read", "write"]
