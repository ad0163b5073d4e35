"""`keras.layers.Embedding` on a CPU, by fastemb's kernels: Keras 3 on its torch backend.

Import it before Keras, and Keras takes the torch backend where ``KERAS_BACKEND`` names no other.
"""

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
try:
    import keras
    import torch
except ImportError as error:
    raise ImportError("fastemb.keras needs Keras and PyTorch: pip install 'fastemb[keras]'") from error

if keras.config.backend() != "torch":
    raise ImportError(f"fastemb.keras needs Keras on torch, got {keras.config.backend()}: set KERAS_BACKEND=torch")

from keras import ops

from fastemb.torch import embedding

__all__ = ["Embedding"]


@keras.saving.register_keras_serializable("fastemb")
class Embedding(keras.layers.Embedding):
    """A `keras.layers.Embedding` whose lookups and gradients run on fastemb's kernels.

    It is one: the same arguments, weights, configuration, masks, LoRA, quantisation and results. With LoRA only the
    rows that are looked up are multiplied, where Keras multiplies the whole table.

    Raises
    ------
    IndexError
        In the call, if an index is out of range; as in Keras on torch, those from ``-input_dim`` on count from the end.

    Examples
    --------
    >>> layer = Embedding(100, 2, embeddings_initializer="ones", mask_zero=True)
    >>> ids = torch.tensor([[4], [0]])
    >>> layer(ids).tolist(), layer.compute_mask(ids).tolist()
    ([[[1.0, 1.0]], [[1.0, 1.0]]], [[True], [False]])
    """

    def call(self, inputs: Any) -> Any:
        """Return the rows of `inputs`'s indices, in the layer's compute dtype."""
        if inputs.dtype not in (torch.int32, torch.int64):
            inputs = ops.cast(inputs, "int32")
        outputs = _rows(self._embeddings, inputs)
        if self.lora_enabled:
            update = ops.matmul(_rows(self.lora_embeddings_a, inputs), self.lora_embeddings_b)
            outputs = ops.add(outputs, (self.lora_alpha / self.lora_rank) * update)
        return ops.cast(outputs, dtype=self.compute_dtype)

    def quantize(self, mode: str | None = None, type_check: bool = True, config: Any = None) -> None:
        """Quantise the table as Keras does; its own lookup then runs."""
        super().quantize(mode, type_check=type_check and type(self) is not Embedding, config=config)


def _rows(table: Any, indices: torch.Tensor) -> torch.Tensor:
    weight = ops.convert_to_tensor(table)
    try:
        return embedding(indices, weight)
    except IndexError:
        from_the_end = (indices < 0) & (indices >= -len(weight))  # an error tells any other as it was given
        return embedding(torch.where(from_the_end, indices + len(weight), indices), weight)
