"""The architectures: one module per paper, found by name through `bnnzoo.registry`.

A builder is a function that returns a [`ZooModel`][bnnzoo.architectures.assembly.ZooModel]. Its
docstring has the paper's section, the deviations from it and the least size of its images; these
arguments are the same for all:

- `input_shape`: `(h, w, c)` of the images.
- `num_classes`: Number of classes.
- `include_top`: Whether to end in the classifier. Without it the output is the last feature map.

A builder raises `ArgumentError` where the images are too small or a number is not positive.
"""
