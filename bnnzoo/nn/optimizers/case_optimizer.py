"""An optimizer for binary kernels combined with another one for all other variables."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

__all__ = ["Case", "CaseOptimizer"]


@dataclass(frozen=True)
class Case:
    """An optimizer and the predicate of its variables.

    This is neither an optimizer nor a tuple, because Keras would save such attributes of an
    optimizer a second time.

    Attributes:
        predicate: Returns whether a variable belongs to the optimizer; None for the default one.
        optimizer: An optimizer that is not built yet.
    """

    predicate: Callable[[keras.Variable], bool] | None
    optimizer: keras.optimizers.Optimizer


@keras.saving.register_keras_serializable(package="bnnzoo")
class CaseOptimizer(keras.optimizers.Optimizer):
    """Trains each variable with the optimizer whose predicate selects it.

        CaseOptimizer((Bop.is_binary_variable, Bop()), default_optimizer=keras.optimizers.Adam())

    The predicates are evaluated once, when the optimizer is built: at the first step or when a
    model is loaded, after the layers are built. `learning_rate` is that of the default optimizer,
    or of the first one if there is no default. Clipping, weight decay, moving averages and
    accumulation of an inner optimizer apply to its own variables.

    A predicate is saved with the model if it is registered with
    `keras.saving.register_keras_serializable`, as is `Bop.is_binary_variable`. For other
    predicates, the selected variables are saved, and the optimizer can be used for a model with the
    same variables.

    Args:
        *cases: `(predicate, optimizer)` pairs. A predicate is called with a `keras.Variable`.
        default_optimizer: Trains the variables that no predicate selects.
        clipnorm: Clips the norm of each gradient, before the inner optimizers see it.
        clipvalue: Clips each value of each gradient.
        global_clipnorm: Clips the global norm of the gradients of all cases.
        loss_scale_factor: Multiplies the loss and divides the gradients. Set it here, not
            on an inner optimizer. `mixed_float16` sets a dynamic one automatically.
        name: Name of the optimizer.

    Raises:
        ValueError: There is no case, or an optimizer is used twice, already built, or scales the
            loss; or, when the optimizer is built, a variable is not selected exactly once, or a
            predicate selects no variable.
    """

    def __init__(
        self,
        *cases: tuple[Callable[[keras.Variable], bool], keras.optimizers.Optimizer],
        default_optimizer: keras.optimizers.Optimizer | str | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        loss_scale_factor: float | None = None,
        name: str = "case_optimizer",
    ) -> None:
        super().__init__(
            learning_rate=0.0,  # required by Keras; the inner optimizers have their own
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            loss_scale_factor=loss_scale_factor,
            name=name,
        )
        pairs = [_case(i, case) for i, case in enumerate(cases)]
        if default_optimizer is not None:
            pairs.append(Case(None, keras.optimizers.get(default_optimizer)))
        _check_optimizers([case.optimizer for case in pairs])
        self._cases = tuple(pairs)
        self._assignment: tuple[int, ...] | None = None

    @property
    def cases(self) -> tuple[Case, ...]:
        """The optimizers with their predicates; the default optimizer is last."""
        return self._cases

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Assigns each variable to its optimizer, and builds the optimizers."""
        # Keras builds the optimizer of a whole-model .h5 file with no variables at all. It then
        # logs that the state is not restored; the first step builds it with those of the model.
        if self.built or not variables:
            return
        self._assignment = self._assign(variables)
        super().build(list(variables))
        for index, case in enumerate(self._cases):
            own = [v for v, i in zip(variables, self._assignment, strict=True) if i == index]
            case.optimizer.build(own)
            # As variables of this optimizer too they are saved, restored and, on JAX, passed
            # through the compiled step with it.
            for variable in case.optimizer.variables:
                self._track_variable(variable)

    def _assign(self, variables: Sequence[keras.Variable]) -> tuple[int, ...]:
        if any(case.predicate is _not_saved for case in self._cases):
            return self._restored_assignment(variables)
        assignment = tuple(self._claim(variable) for variable in variables)
        for index, case in enumerate(self._cases):
            if case.predicate is not None and index not in assignment:
                raise ValueError(
                    f"The predicate of {case.optimizer.name!r} must claim a variable, got none of "
                    f"{len(variables)}. Binary kernels need a quantizer of one bit, as in "
                    "kernel_quantizer='ste_sign'."
                )
        return assignment

    def _claim(self, variable: keras.Variable) -> int:
        indices = [i for i, c in enumerate(self._cases) if c.predicate and c.predicate(variable)]
        names = [self._cases[i].optimizer.name for i in indices]
        if len(indices) > 1:
            raise ValueError(
                f"Variable '{variable.path}' must be claimed by one optimizer, got {names}. "
                "Make the predicates exclude each other."
            )
        if indices:
            return indices[0]
        if self._cases[-1].predicate is None:
            return len(self._cases) - 1
        raise ValueError(
            f"Variable '{variable.path}' must be claimed by an optimizer, got none. Pass "
            "default_optimizer, or set `trainable = False` on its layer."
        )

    def _restored_assignment(self, variables: Sequence[keras.Variable]) -> tuple[int, ...]:
        if self._assignment is None or len(self._assignment) != len(variables):
            _not_saved(None)
        return self._assignment

    def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
        """Updates the variables, each by its optimizer."""
        if trainable_variables is None:
            variables = self._trainable_variables
        else:
            variables = list(trainable_variables)
            self.build(variables)
            self._check_variables_are_known(variables)
        grads, variables = self._filter_empty_gradients(list(grads), variables)
        if self.loss_scale_factor is not None:
            grads = [ops.divide(g, self.loss_scale_factor) for g in grads]
        grads = self._clip_gradients(grads)
        for index, case in enumerate(self._cases):
            own = [i for i, v in enumerate(variables) if self._case_index(v) == index]
            if own:
                case.optimizer.apply([grads[i] for i in own], [variables[i] for i in own])
        self._iterations.assign_add(1)

    def _case_index(self, variable: Any) -> int:
        return self._assignment[self._get_variable_index(variable)]

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the default optimizer, or of the first if there is none."""
        return self._main_optimizer().learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._main_optimizer().learning_rate = value

    def _main_optimizer(self) -> keras.optimizers.Optimizer:
        return self._cases[-1 if self._cases[-1].predicate is None else 0].optimizer

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """Assigns the moving averages of optimizers that use them, at the end of training."""
        for index, case in enumerate(self._cases):
            own = [variable for variable in var_list if self._case_index(variable) == index]
            case.optimizer.finalize_variable_values(own)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the optimizer, without its state."""
        return {
            "cases": [
                {
                    "predicate": _registered_name(case.predicate),
                    "optimizer": keras.optimizers.serialize(case.optimizer),
                }
                for case in self._cases
                if case.predicate is not None
            ],
            "default_optimizer": (
                keras.optimizers.serialize(self._cases[-1].optimizer)
                if self._cases[-1].predicate is None
                else None
            ),
            "assignment": None if self._assignment is None else list(self._assignment),
            "clipnorm": self.clipnorm,
            "clipvalue": self.clipvalue,
            "global_clipnorm": self.global_clipnorm,
            "loss_scale_factor": self.loss_scale_factor,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> CaseOptimizer:
        """Returns the optimizer of a config of `get_config`."""
        config = copy.deepcopy(config)  # Keras puts objects into the inner configs
        cases, assignment = config.pop("cases"), config.pop("assignment")
        default = config.pop("default_optimizer")
        optimizer = cls(
            *[
                (
                    _registered_predicate(case["predicate"], custom_objects),
                    keras.optimizers.deserialize(case["optimizer"], custom_objects),
                )
                for case in cases
            ],
            default_optimizer=default and keras.optimizers.deserialize(default, custom_objects),
            **config,
        )
        optimizer._assignment = None if assignment is None else tuple(assignment)
        return optimizer


def _case(index: int, case: Any) -> Case:
    if not isinstance(case, (tuple, list)) or len(case) != 2 or not callable(case[0]):
        raise ValueError(
            f"cases[{index}] must be a pair (predicate, optimizer), got {case!r}. "
            "An optimizer for all other variables is default_optimizer."
        )
    return Case(case[0], keras.optimizers.get(case[1]))


def _check_optimizers(optimizers: list[keras.optimizers.Optimizer]) -> None:
    if not optimizers:
        raise ValueError("cases must have a (predicate, optimizer) pair, got none.")
    if len({id(optimizer) for optimizer in optimizers}) < len(optimizers):
        raise ValueError(
            "The optimizers of the cases must be different objects, got one twice. "
            "Construct a second one."
        )
    for optimizer in optimizers:
        if optimizer.built:
            raise ValueError(
                f"Optimizer {optimizer.name!r} must be new, got one that is built. "
                "Construct another one."
            )
        scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        if scales or optimizer.loss_scale_factor is not None:
            raise ValueError(
                f"Optimizer {optimizer.name!r} must not scale the loss inside a CaseOptimizer, "
                "which sees the loss first. Pass loss_scale_factor to the CaseOptimizer, or wrap "
                "it in a LossScaleOptimizer."
            )


def _registered_name(predicate: Callable[[keras.Variable], bool]) -> str | None:
    name = keras.saving.get_registered_name(predicate)
    return name if keras.saving.get_registered_object(name) is predicate else None


def _registered_predicate(name: str | None, custom_objects: Any) -> Callable[[Any], bool]:
    found = name and keras.saving.get_registered_object(name, custom_objects)
    return found or _not_saved


def _not_saved(variable: Any) -> bool:
    """Placeholder for a predicate that was not registered when its optimizer was saved."""
    raise ValueError(
        "The predicates of a saved CaseOptimizer must be registered to be used with other "
        "variables than it was saved with. Use keras.saving.register_keras_serializable."
    )
