"""The architectures: one module per paper, found by name through `bnnzoo.registry`."""
