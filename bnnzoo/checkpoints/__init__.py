"""Reads PyTorch checkpoints without PyTorch and without executing code in them.

`torch_file` reads the two containers of `torch.save`. `inert_pickle` reads the pickle in them, with
the functions in `allowed_names`, and `tensors` reads the arrays. `state_dict` finds the weights
among everything that a training loop stores, and `assigning` assigns them to a Keras model using
the tables in `names`, one file per paper, as in `bnnzoo.architectures`.
"""
