"""Runs packed networks on the CPU, without Keras or a deep-learning framework.

from bnnzoo import runtime

model = runtime.load("quicknet.safetensors")
scores = model.predict(images)  # raw uint8
"""

from bnnzoo.runtime.model import Model, NodeTime, isas, load

__all__ = ["Model", "NodeTime", "isas", "load"]
