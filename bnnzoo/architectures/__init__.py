"""The architectures: one module per paper, registered by name in `bnnzoo.registry`.

A builder is a function that returns a [`ZooModel`][bnnzoo.architectures.assembly.ZooModel]. Its
docstring names the section of the paper, the deviations from it and the minimum image size. All
builders have these arguments:

- `input_shape`: `(h, w, c)` of the images.
- `num_classes`: Number of classes.
- `include_top`: Whether to include the classifier. Without it, the output is the last feature map.

A builder raises `ArgumentError` if the images are too small or a number is not positive.
"""
