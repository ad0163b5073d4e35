"""torch, or a word on how to get it."""

try:
    import torch
except ImportError as error:
    raise ImportError("fastemb bench layers needs PyTorch: pip install 'fastemb[bench-layers]'") from error

__all__ = ["torch"]
