"""Lookups, bags and their gradients on NumPy arrays, with the arguments and the meaning of torch.nn.functional.

What is beyond torch: modes "min" and "sqrtn"; `per_sample_weights` with "mean" and "sqrtn"; indices of 8 to 64 bits,
signed or not; bags as lists, as Arrow arrays or as (values, offsets); `scale_grad_by_freq` with sparse gradients and
with "max"; and `on_invalid`, which says what becomes of an index that is outside the table:

- "raise" (the default): an IndexError that tells its place;
- "clip": the nearest row is taken;
- "pad": row `padding_idx` is taken (and so left out of a bag); where there is none, a lookup gives zeros and a bag
  leaves it out;
- "hash": row ``splitmix64(index) % num_embeddings`` is taken.

A table is float64, float32, float16 or, with ml_dtypes, bfloat16; sums are formed in float64 for float64 tables and in
float32 for all others. Where a table has no rows side by side in memory (a transposed one, say), it is copied first.

Arrays of other packages that have DLPack (torch, JAX, CuPy), in the host's memory or in a GPU's, are used without a
copy, and answered with arrays of the package that `weight` is of; those of a tensor that requires a gradient are not
shared: see `fastemb.torch`.

Gradients are functions too: with ``sparse=True`` they are the rows that were looked up, as ``(indices, values)``,
ascending and without duplicates; else an array of the table's shape. Neither depends on the number of threads.
"""

from fastemb.functional.bags import embedding_bag, embedding_bag_backward, per_sample_weights_backward
from fastemb.functional.lookups import embedding, embedding_backward, one_hot
from fastemb.functional.rows import embedding_renorm_, scatter_add, scatter_add_backward

__all__ = [
    "embedding",
    "embedding_backward",
    "embedding_bag",
    "embedding_bag_backward",
    "embedding_renorm_",
    "one_hot",
    "per_sample_weights_backward",
    "scatter_add",
    "scatter_add_backward",
]
