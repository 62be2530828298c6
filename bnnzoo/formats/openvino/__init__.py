"""OpenVINO's intermediate representation: networks as `.xml`, with their weights in a `.bin`, read.

The file becomes plain data (`ir_file`), and each layer the ONNX operators that compute the same
(`translating`), which become nodes of a graph as those of an `.onnx` file do. What ONNX does not
have is read here (`reading_layers`): `BinaryConvolution` and `FakeQuantize` among others.

See the specification, https://docs.openvino.ai/2024/documentation/openvino-ir-format.html.
"""

from bnnzoo.formats.openvino.reader import from_bytes, read

__all__ = ["from_bytes", "read"]
