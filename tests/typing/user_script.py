"""What a user writes. `scripts/lint.sh` runs mypy and Pyright on it.

The lines with an ignore comment must be errors: an unused comment is one as well.
"""

from __future__ import annotations

import bnnzoo
from bnnzoo.architectures.assembly import ZooModel
from bnnzoo.errors import BnnZooError
from bnnzoo.evaluation import EvaluationReport
from bnnzoo.registry import ModelInfo

names: list[str] = bnnzoo.list_models("re*")
info: ModelInfo = bnnzoo.info(names[0])
top1: float | None = bnnzoo.results()[0].top1
fastest: float = min(row.ms for row in bnnzoo.compare(["quicknet*"]))

model: ZooModel = bnnzoo.load("quicknet", pretrained=True)
model = bnnzoo.open_model("network.keras")
packed_bytes: int = bnnzoo.summary(model).packed_bytes

report = bnnzoo.evaluate(model, "sample:fashion_mnist")
assert isinstance(report, EvaluationReport)
accuracy: float = report.top1

size: int = bnnzoo.convert(model, "network.safetensors").sizes.total
network = bnnzoo.runtime.load("network.safetensors")

try:
    bnnzoo.laod("quicknet")  # type: ignore[attr-defined]
    bnnzoo.load("quicknet", pretraind=True)  # type: ignore[call-arg]
    bnnzoo.load(18)  # type: ignore[arg-type]
except BnnZooError as error:
    code: int = error.exit_code
