"""The optimizer Bop, and an optimizer that uses a separate optimizer per group of variables."""

from __future__ import annotations

from bnnzoo.nn.optimizers.bop import Bop, is_binary_variable
from bnnzoo.nn.optimizers.case_optimizer import Case, CaseOptimizer

__all__ = ["Bop", "Case", "CaseOptimizer", "is_binary_variable"]
