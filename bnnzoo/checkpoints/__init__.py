"""PyTorch checkpoints, read without PyTorch and without running anything.

`torch_file` reads the two containers of `torch.save`, `inert_pickle` the pickle in them by
`allowed_names`, and `tensors` the numbers. `state_dict` finds the weights among what a training
loop stores, and `assigning` gives them to a Keras model by the tables in `names`: one file per
paper, as in `bnnzoo.architectures`.
"""
