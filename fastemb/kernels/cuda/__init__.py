"""Kernels for an NVIDIA GPU, in Numba-CUDA: names and leading arguments are those of `fastemb.kernels.reference`.

A *team* of threads, a warp or an even part of one, has one item of the range at a time: a lookup, a bag, a row. Its
threads are ``threadIdx.x`` of ``blockDim.x`` and take a vector of neighbouring columns each; ``threadIdx.y`` tells the
teams of a block apart, and teams stride over the range, so that any grid is right. What comes after the reference's
arguments: `fault`, int64 (1,), which a kernel lowers to the first item of the range in which something is wrong; and
`width`, whose length is how many columns a thread moves at a time (see `vector`). No kernel reads or writes outside an
array, whatever the indices are: the place of a bad one is read from row 0 or from nowhere.
"""
