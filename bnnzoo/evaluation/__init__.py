"""Measures a model's accuracy on a data set: `evaluate(model, data) -> Report`."""

from __future__ import annotations

from bnnzoo.evaluation.measure import evaluate
from bnnzoo.evaluation.report import EvaluationReport, Report
from bnnzoo.evaluation.segmentation import SegmentationReport

__all__ = ["EvaluationReport", "Report", "SegmentationReport", "evaluate"]
