"""`torch.nn.Embedding` and `torch.nn.EmbeddingBag` on a CPU, many times faster in training.

Change one line of a model, or let `replace_embeddings` do it::

    from fastemb.torch import replace_embeddings
    replace_embeddings(model, fused_optimizer="adagrad")
"""

try:
    import torch  # noqa: F401
except ImportError as error:
    raise ImportError("fastemb.torch needs PyTorch: pip install 'fastemb[torch]'") from error

from fastemb.torch.functional import embedding, embedding_bag
from fastemb.torch.modules import Embedding, EmbeddingBag
from fastemb.torch.replace import Replacement, replace_embeddings

__all__ = ["Embedding", "EmbeddingBag", "Replacement", "embedding", "embedding_bag", "replace_embeddings"]
