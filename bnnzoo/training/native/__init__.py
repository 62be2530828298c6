"""The native training step: forward convolutions on packed bits, gradients by own kernels.

`building` turns a Keras network into a network of the extension module, `kernels` has the kernel
quantizers that are computed in NumPy, `updates` the optimizers, and `engine` trains an epoch.
"""
