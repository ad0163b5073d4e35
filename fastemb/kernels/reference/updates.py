"""Optimizers' rules on the rows of a table: the specification of `kernels/cpu/updates.py`, obvious and slow.

A rule is a tuple whose length tells which one it is. ``hyper`` holds, in the accumulator dtype: the bound of the
gradient's elements (`CLIP`, infinite for none), what the weights are multiplied by (`KEEP`, 1 for no decay), the
coefficient of the weights in the gradient (`PULL`, 0 for no decay), then what the rule needs, from `RULE` on:

=============== ============ ============ =========================================================
rule            first        second       ``hyper[RULE:]``
=============== ============ ============ =========================================================
SGD                                       rate
MOMENTUM        velocity                  rate, momentum, gain (1 - dampening)
NESTEROV        velocity                  rate, momentum, gain
ADAGRAD         sum of g^2                rate, eps, what the sum is thought to begin with
ROWWISE_ADAGRAD sum of g^2                rate, eps
                a row
ADAM            mean of g    mean of g^2  rate, beta1, 1 - beta1, eps, beta2, 1 - beta2
ROWWISE_ADAM    mean of g    mean of g^2  the same
                             a row
FTRL            z            n            1 / alpha, beta, l1, l2
ADD                                       factor
=============== ============ ============ =========================================================

ADD adds the gradient times a factor and nothing else: the numbers before it are not used.

State is of the accumulator dtype and of shape ``(num_embeddings, embedding_dim)``, ``(num_embeddings, 1)`` where the
table says "a row", and ``(0, 1)`` where a rule has none.
"""

import numpy as np

from fastemb.kernels.reference.bags import SUM, reduce
from fastemb.kernels.reference.lookup import NO_PADDING, narrow, widen

__all__ = [
    "ADAGRAD", "ADAM", "ADD", "CLIP", "FTRL", "KEEP", "MOMENTUM", "NESTEROV", "PULL", "ROWWISE_ADAGRAD", "ROWWISE_ADAM",
    "RULE", "SGD", "decay", "part_of_row", "scatter_add", "step", "update",
]  # fmt: skip

SGD, MOMENTUM, NESTEROV, ADAGRAD, ROWWISE_ADAGRAD, ADAM, ROWWISE_ADAM, FTRL, ADD = ((0,) * n for n in range(1, 10))
CLIP, KEEP, PULL, RULE = range(4)


def update(weight, first, second, rows, gradients, base, hyper, rule, start, stop):
    """Apply a rule to ``weight[rows[s]]`` with the gradient ``gradients[s - base]``, for s in ``[start, stop)``.

    Parameters
    ----------
    weight : float64, float32, float16 or uint16 (bfloat16) (num_embeddings, embedding_dim)
        Changed in place.
    first, second : accumulator dtype
        The rule's state. Changed in place.
    rows : int32 or int64 (num_rows,)
        Distinct, in ``[0, num_embeddings)``.
    gradients : accumulator dtype (stop - base or more, embedding_dim)
    base : int
        The place in `rows` of the first gradient.
    hyper : accumulator dtype
    rule : tuple
        Its length tells the rule.
    start, stop : int
        The range of `rows`.

    Examples
    --------
    >>> weight, none = np.ones((3, 2)), np.zeros((0, 1))
    >>> update(weight, none, none, np.array([1]), np.ones((1, 2)), 0, np.array([np.inf, 1, 0, 0.25]), SGD, 0, 1)
    >>> weight
    array([[1.  , 1.  ],
           [0.75, 0.75],
           [1.  , 1.  ]])
    """
    r = rows[start:stop]
    w = widen(weight[r])
    if rule == ADD:
        weight[r] = narrow(w + hyper[RULE] * gradients[start - base : stop - base], weight.dtype)
        return
    g = np.clip(gradients[start - base : stop - base], -hyper[CLIP], hyper[CLIP]) + hyper[PULL] * w
    with np.errstate(all="ignore"):
        w = _RULES[len(rule)](hyper[KEEP] * w, g, first, second, r, *hyper[RULE:])
    weight[r] = narrow(w, weight.dtype)


def scatter_add(weight, rows, values, factor, chosen, start, stop):
    """Add ``factor[0] * values[s]`` to ``weight[rows[s]]``, in order, for the rows of each part in ``[start, stop)``.

    Parameters
    ----------
    weight : float64 or float32 (num_embeddings, embedding_dim)
        Changed in place.
    rows : int32 or int64 (num_lookups,)
        In ``[0, num_embeddings)``, repeated ones too; -1 is left out.
    values : array (num_lookups, embedding_dim)
        Of the table's dtype.
    factor : array (1,)
        Of the table's dtype.
    chosen : int64 (num_parts, block)
        How many parts there are, and memory in which each keeps the places of its own rows in a block of `rows`.
    start, stop : int
        The range of parts. A row belongs to one part, the same wherever it stands: see `part_of_row`.

    Examples
    --------
    >>> weight, chosen = np.zeros((3, 1)), np.empty((1, 8), np.int64)
    >>> scatter_add(weight, np.array([2, 0, 2]), np.array([[1.0], [2.0], [4.0]]), np.array([0.5]), chosen, 0, 1)
    >>> weight
    array([[1. ],
           [0. ],
           [2.5]])
    """
    for part in range(start, stop):
        for s, row in enumerate(rows):
            if row != -1 and part_of_row(row, len(chosen)) == part:
                weight[row] += factor[0] * values[s]


def part_of_row(row, num_parts):
    """Return which of `num_parts` a row belongs to: neighbours, and rows at regular distances, to different ones.

    Examples
    --------
    >>> [part_of_row(row, 2) for row in range(8)]
    [0, 1, 0, 1, 0, 0, 1, 0]
    """
    mixed = int(row) * 0x9E3779B9 % 2**32
    return mixed * num_parts >> 32


def step(
    weight, first, second, rows, grad_output, bags, starts, coefficients, hyper, rule, bounds, scratch, start, stop
):
    """Apply a rule with gradients that are yet to be summed, for each part in ``[start, stop)``.

    Part p is of ``rows[bounds[p] : bounds[p + 1]]``. The gradient of row s is the sum of
    ``coefficients[j] * grad_output[bags[j]]`` over j in ``[starts[s], starts[s + 1])``. Rows are taken in blocks: their
    gradients are summed into ``scratch[p]``, and used while they are in the cache.

    Parameters
    ----------
    weight, first, second, rows, hyper, rule
        As in `update`.
    grad_output : array (num_bags, embedding_dim)
        Of the table's dtype or its accumulator dtype.
    bags : int32 or int64 (num_lookups,)
    starts : int64 (num_rows + 1,)
    coefficients : None or accumulator dtype (num_lookups,)
    bounds : int64 (num_parts + 1,)
    scratch : accumulator dtype (num_parts, block, embedding_dim)
        What is in it afterwards is undefined.
    start, stop : int
        The range of parts.

    Returns
    -------
    int
        -1, or what `bags.reduce` says of `bags` and `starts`.
    """
    for part in range(start, stop):
        block = len(scratch[part])
        for first_row in range(bounds[part], bounds[part + 1], block):
            last = min(first_row + block, bounds[part + 1])
            offsets = starts[first_row : last + 1]
            lookups = grad_output, bags, offsets, coefficients, NO_PADDING
            status = reduce(scratch[part], *lookups, SUM, 0, last - first_row)
            if status != -1:
                return status
            update(weight, first, second, rows, scratch[part], first_row, hyper, rule, first_row, last)
    return -1


def decay(weight, reached, rows, log_product, start, stop):
    """Catch up on weight decay: multiply ``weight[rows[s]]`` by what it has missed, for s in ``[start, stop)``.

    Parameters
    ----------
    weight : float64, float32, float16 or uint16 (bfloat16) (num_embeddings, embedding_dim)
        Changed in place.
    reached : float64 (num_embeddings,)
        The logarithm of the product of the decay factors that each row has been multiplied by; `log_product`
        afterwards. Changed in place.
    rows : int32 or int64 (num_rows,)
        Distinct, in ``[0, num_embeddings)``.
    log_product : float
        The logarithm of the product of all decay factors so far.
    start, stop : int
        The range of `rows`.
    """
    for row in rows[start:stop]:
        if reached[row] != log_product:
            w = widen(weight[row])
            weight[row] = narrow(w * w.dtype.type(np.exp(log_product - reached[row])), weight.dtype)
            reached[row] = log_product


def _sgd(w, g, first, second, r, rate):
    return w - rate * g


def _momentum(w, g, first, second, r, rate, momentum, gain):
    first[r] = momentum * first[r] + gain * g
    return w - rate * first[r]


def _nesterov(w, g, first, second, r, rate, momentum, gain):
    first[r] = momentum * first[r] + gain * g
    return w - rate * (g + momentum * first[r])


def _adagrad(w, g, first, second, r, rate, eps, initial):
    first[r] += g * g
    return w - rate * g / (np.sqrt(first[r] + initial) + eps)


def _rowwise_adagrad(w, g, first, second, r, rate, eps):
    first[r] += _mean(g * g)
    return w - rate / (np.sqrt(first[r]) + eps) * g


def _adam(w, g, first, second, r, rate, beta1, gain1, eps, beta2, gain2):
    first[r] = beta1 * first[r] + gain1 * g
    second[r] = beta2 * second[r] + gain2 * (g * g)
    return w - rate * first[r] / (np.sqrt(second[r]) + eps)


def _rowwise_adam(w, g, first, second, r, rate, beta1, gain1, eps, beta2, gain2):
    first[r] = beta1 * first[r] + gain1 * g
    second[r] = beta2 * second[r] + gain2 * _mean(g * g)
    return w - rate / (np.sqrt(second[r]) + eps) * first[r]


def _ftrl(w, g, first, second, r, inverse_alpha, beta, l1, l2):
    n = second[r] + g * g
    sigma = (np.sqrt(n) - np.sqrt(second[r])) * inverse_alpha
    first[r] += g - sigma * w
    second[r] = n
    beyond = first[r] - np.clip(first[r], -l1, l1)
    return -beyond / ((beta + np.sqrt(n)) * inverse_alpha + l2)


def _mean(x):
    return x.mean(axis=1, keepdims=True)


_RULES = {
    len(SGD): _sgd,
    len(MOMENTUM): _momentum,
    len(NESTEROV): _nesterov,
    len(ADAGRAD): _adagrad,
    len(ROWWISE_ADAGRAD): _rowwise_adagrad,
    len(ADAM): _adam,
    len(ROWWISE_ADAM): _rowwise_adam,
    len(FTRL): _ftrl,
}
