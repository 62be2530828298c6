"""Writes larq_quantizers.npz: values and gradients of larq's quantizers, for golden tests.

Runs in the peer's environment, once (Python 3.11):
    pip install larq==0.14.0 larq-zoo==2.4.0 tensorflow-cpu==2.15.1
    python tests/data/make_larq_quantizers.py

Holds a kernel `x` with the edges of every gradient in it, an upstream gradient, and for each case
q(x) and the gradient of sum(upstream * q(x)).
"""

from pathlib import Path

import larq
import numpy as np
import tensorflow as tf
from larq_zoo.literature.dorefanet import magnitude_aware_sign_unclipped
from larq_zoo.literature.xnornet import xnor_weight_scale

quantizers = larq.quantizers
CASES = {
    "ste_sign": quantizers.SteSign(),
    "ste_sign_1.25": quantizers.SteSign(clip_value=1.25),
    "ste_sign_unclipped": quantizers.SteSign(clip_value=None),
    "approx_sign": quantizers.ApproxSign(),
    "swish_sign": quantizers.SwishSign(),
    "swish_sign_2": quantizers.SwishSign(beta=2.0),
    "magnitude_aware_sign": quantizers.MagnitudeAwareSign(),
    "magnitude_aware_sign_unclipped": quantizers.MagnitudeAwareSign(clip_value=None),
    "xnor_weight_scale": xnor_weight_scale,
    "dorefa_sign": magnitude_aware_sign_unclipped,
    "ste_heaviside": quantizers.SteHeaviside(),
    "ste_heaviside_0.5": quantizers.SteHeaviside(clip_value=0.5),
    "ste_tern": quantizers.SteTern(),
    "ste_tern_0.5": quantizers.SteTern(threshold_value=0.5, clip_value=1.25),
    "ste_tern_twn": quantizers.SteTern(ternary_weight_networks=True),
    **{f"dorefa_{k}": quantizers.DoReFa(k_bit=k) for k in (1, 2, 3, 8)},
    **{f"dorefa_weights_{k}": quantizers.DoReFa(k_bit=k, mode="weights") for k in (1, 2, 4)},
    "no_op": quantizers.NoOp(precision=1),
}
EDGES = [0.0, -0.0, 0.05, -0.05, 0.5, -0.5, 1.0, -1.0, 1.25, -1.25, 40.0, -40.0]


def main() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(-1.6, 1.6, (3, 3, 4, 5)).astype("float32")
    x.flat[: len(EDGES)] = EDGES
    upstream = rng.standard_normal(x.shape).astype("float32")
    arrays = {"x": x, "upstream": upstream}
    for name, quantizer in CASES.items():
        variable = tf.Variable(x)
        with tf.GradientTape() as tape:
            value = quantizer(variable)
            total = tf.reduce_sum(value * upstream)
        arrays[f"{name}/value"] = value.numpy()
        arrays[f"{name}/gradient"] = tape.gradient(total, variable).numpy()
    np.savez_compressed(Path(__file__).with_name("larq_quantizers.npz"), **arrays)


if __name__ == "__main__":
    main()
