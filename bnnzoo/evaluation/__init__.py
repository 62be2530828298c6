"""Measures a model's accuracy on a data set: `evaluate(model, data) -> EvaluationReport`."""

from __future__ import annotations

from bnnzoo.evaluation.measure import evaluate
from bnnzoo.evaluation.report import EvaluationReport

__all__ = ["EvaluationReport", "evaluate"]
