"""Quantizers: functions with few values and a surrogate gradient.

Each can be used as `input_quantizer`, as `kernel_quantizer` and as an activation
(`keras.layers.Activation(bnnzoo.nn.SteSign())`). `get` returns them by alias.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras

from bnnzoo.errors import did_you_mean
from bnnzoo.nn.quantizers.annealed import (
    AnnealedQuantizer,
    CenteredSign,
    ErrorDecaySign,
    LibraSign,
    ReCU,
)
from bnnzoo.nn.quantizers.binary import (
    ApproxSign,
    DoReFaSign,
    MagnitudeAwareSign,
    SteHeaviside,
    SteSign,
    SwishSign,
    XnorWeightScale,
)
from bnnzoo.nn.quantizers.multi_bit import DoReFa, NoOp, SteTern
from bnnzoo.nn.quantizers.straight_through import Quantizer, sign

__all__ = [
    "ALIASES",
    "AnnealedQuantizer",
    "ApproxSign",
    "CenteredSign",
    "DoReFa",
    "DoReFaSign",
    "ErrorDecaySign",
    "LibraSign",
    "MagnitudeAwareSign",
    "NoOp",
    "Quantizer",
    "ReCU",
    "SteHeaviside",
    "SteSign",
    "SteTern",
    "SwishSign",
    "XnorWeightScale",
    "deserialize",
    "get",
    "serialize",
    "sign",
]

ALIASES: dict[str, type[Quantizer]] = {
    "approx_sign": ApproxSign,
    "centered_sign": CenteredSign,
    "dorefa": DoReFa,
    "dorefa_quantizer": DoReFa,  # as Larq calls it
    "dorefa_sign": DoReFaSign,
    "error_decay_sign": ErrorDecaySign,
    "libra_sign": LibraSign,
    "magnitude_aware_sign": MagnitudeAwareSign,
    "no_op": NoOp,
    "recu": ReCU,
    "ste_heaviside": SteHeaviside,
    "ste_sign": SteSign,
    "ste_tern": SteTern,
    "swish_sign": SwishSign,
    "xnor_weight_scale": XnorWeightScale,
}
# Names of settings in Larq, and those that its quantizers have as layers of Keras 2.
_LARQ_SETTINGS = {"precision": "bits"}
_LAYER_SETTINGS = ("name", "trainable", "dtype")


def get(identifier: Any) -> Callable[[Any], Any] | None:
    """Returns a quantizer by its identifier.

    Args:
        identifier: An alias or class name ("ste_sign", "SteSign"), a quantizer or any other
            callable (returned unchanged), a quantizer class, a serialized quantizer, or `None`.

    Raises:
        ValueError: `identifier` is none of these.
    """
    if isinstance(identifier, str):
        identifier = _by_name(identifier)
    if inspect.isclass(identifier):
        return identifier()
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if identifier is None or callable(identifier):
        return identifier
    raise ValueError(
        f"A quantizer must be an alias, a callable or None, got {identifier!r}. "
        "Try 'ste_sign' or bnnzoo.nn.SteSign()."
    )


def serialize(quantizer: Callable[[Any], Any] | None) -> dict[str, Any] | None:
    """Returns a quantizer as JSON values."""
    return keras.saving.serialize_keras_object(quantizer)


def deserialize(config: dict[str, Any]) -> Callable[[Any], Any]:
    """Returns the quantizer of a config of `serialize` or of Larq."""
    name, known = config.get("class_name"), _known()
    is_larqs = str(config.get("module") or "larq").partition(".")[0] == "larq"
    if is_larqs and name in known and config.get("registered_name") in (None, name):
        settings = {
            _LARQ_SETTINGS.get(key, key): value
            for key, value in config.get("config", {}).items()
            if key not in _LAYER_SETTINGS
        }
        return known[name](**settings)
    return keras.saving.deserialize_keras_object(config)


def _known() -> dict[str, type[Quantizer]]:
    return ALIASES | {cls.__name__: cls for cls in ALIASES.values()}


def _by_name(name: str) -> Any:
    """Returns the class or function of an alias, a class name or a registered Keras name."""
    known = _known()
    found = known.get(name) or keras.saving.get_registered_object(name)
    if found is not None:
        return found
    hint = did_you_mean(name, known)
    raise ValueError(f"Unknown quantizer {name!r}.{hint} Known: {', '.join(sorted(ALIASES))}.")
