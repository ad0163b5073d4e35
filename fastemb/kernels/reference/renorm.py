"""Limit the norm of a table's rows, in place: torch's ``embedding_renorm_`` on rows that are distinct."""

import numpy as np

from fastemb.kernels.reference.lookup import narrow, widen

__all__ = ["renormalise"]


def renormalise(weight, rows, max_norm, norm_type, start, stop):
    """Scale each row whose norm is above `max_norm` by ``max_norm / (norm + 1e-7)``; leave the others as they are.

    Norms are taken in the accumulator dtype, where torch rounds that of a short row to the row's dtype. A row with a
    NaN has no norm above anything and is left alone; a row with an infinity becomes NaN where it is infinite and 0
    elsewhere.

    Parameters
    ----------
    weight : float64, float32, float16 or uint16 (bfloat16) (num_embeddings, embedding_dim)
        Changed in place.
    rows : int32 or int64 (num_rows,)
        Distinct, in ``[0, num_embeddings)``.
    max_norm : float
    norm_type : float
        p of the p-norm: inf and -inf for the largest and smallest magnitude, 0 for the number of nonzeros; any other p
        for ``sum(|x| ** p) ** (1 / p)``, negative ones too.
    start, stop : int
        The range of `rows`.

    Examples
    --------
    >>> weight = np.array([[3.0, 4.0], [0.3, 0.4]])
    >>> renormalise(weight, np.array([0, 1]), 1.0, 2.0, 0, 2)
    >>> weight.round(6)
    array([[0.6, 0.8],
           [0.3, 0.4]])
    """
    for row in rows[start:stop]:
        x = widen(weight[row])
        norm = float(_norm(x, norm_type)) if x.size else 0.0
        if norm > max_norm:
            with np.errstate(invalid="ignore"):
                weight[row] = narrow(x * x.dtype.type(max_norm / (norm + 1e-7)), weight.dtype)


def _norm(x, p):
    with np.errstate(over="ignore", divide="ignore"):
        return np.linalg.norm(x, p)
