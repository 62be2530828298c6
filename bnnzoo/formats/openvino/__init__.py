"""Reads OpenVINO's intermediate representation: an `.xml` file, with its weights in a `.bin` file.

The file is parsed to plain data (`ir_file`). Each layer is translated to ONNX operators that
compute the same (`translating`), and the reader of `.onnx` files converts these to a graph. Layers
without an ONNX equivalent, such as `BinaryConvolution` and `FakeQuantize`, are read by
`reading_layers`.

See the specification, https://docs.openvino.ai/2024/documentation/openvino-ir-format.html.
"""

from bnnzoo.formats.openvino.reader import from_bytes, read

__all__ = ["from_bytes", "read"]
