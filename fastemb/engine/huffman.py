"""Huffman's tree over words or labels: the paths that hierarchical softmax walks."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["HuffmanTree", "huffman_paths", "huffman_tree"]


class HuffmanTree(NamedTuple):
    """The path from the root to every leaf, one after the other.

    Attributes
    ----------
    points : int32 (sum of the paths' lengths,)
        Inner nodes, numbered from 0 in the order in which they were made: the root, which is the last, comes first in
        every path.
    codes : uint8 (sum of the paths' lengths,)
        Whether the path goes on to the second child (1) or the first (0).
    offsets : int64 (num_leaves + 1,)
        Leaf `i` has ``points[offsets[i]:offsets[i + 1]]`` and the codes of the same places.
    """

    points: NDArray[np.int32]
    codes: NDArray[np.uint8]
    offsets: NDArray[np.int64]


def huffman_tree(counts: NDArray[np.int64]) -> HuffmanTree:
    """Return the tree that word2vec.c and fastText build, equal to theirs where counts tie, too.

    Both take the two least of what is left, leaves from the last one on and inner nodes in the order in which they were
    made, an inner node before a leaf of the same count (``CreateBinaryTree`` in word2vec.c, ``buildTree`` in fastText).
    The second of the two has code 1.

    Parameters
    ----------
    counts : int64 (num_leaves,)
        Occurrences, in falling order. Where they rise the tree is still the programs' own, though not the best one.

    Returns
    -------
    HuffmanTree
        Of ``num_leaves - 1`` inner nodes. A single leaf has an empty path.

    Examples
    --------
    >>> tree = huffman_tree(np.array([5, 2, 2]))
    >>> for first, last in zip(tree.offsets, tree.offsets[1:]):
    ...     print(tree.points[first:last].tolist(), tree.codes[first:last].tolist())
    [1] [1]
    [1, 0] [0, 1]
    [1, 0] [0, 0]
    """
    parents, codes = _merge(counts)
    return _paths(parents, codes, len(counts))


def huffman_paths(counts: NDArray[np.int64], code_is_label: bool = False) -> HuffmanTree:
    """Return the tree of words in any order, for the trainers.

    Parameters
    ----------
    counts : int64 (num_words,)
    code_is_label : bool, default False
        Exchange the codes, for a program in which a node learns the code itself: the kernels' label is 1 less the code.

    Examples
    --------
    >>> tree = huffman_paths(np.array([2, 5, 2]))
    >>> np.diff(tree.offsets)
    array([2, 1, 2])
    """
    order = np.argsort(-counts, kind="stable")
    tree = huffman_tree(counts[order])
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    lengths = np.diff(tree.offsets)[rank]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    places = np.repeat(tree.offsets[rank] - offsets[:-1], lengths) + np.arange(offsets[-1])
    return HuffmanTree(tree.points[places], tree.codes[places] ^ np.uint8(code_is_label), offsets)


def _merge(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the parent and the code of every node but the root: leaves first, then inner nodes."""
    size = len(counts)
    count = counts.tolist()
    parents = np.zeros(max(0, 2 * size - 2), np.int64)
    codes = np.zeros(len(parents), np.uint8)
    leaf, inner = size - 1, size
    chosen = []
    for node in range(size, 2 * size - 1):
        pair = []
        for _ in range(2):
            if leaf >= 0 and (inner == node or count[leaf] < count[inner]):
                pair.append(leaf)
                leaf -= 1
            else:
                pair.append(inner)
                inner += 1
        count.append(count[pair[0]] + count[pair[1]])
        chosen.append(pair)
    if chosen:
        pairs = np.array(chosen)
        parents[pairs] = np.arange(size, 2 * size - 1)[:, None]
        codes[pairs[:, 1]] = 1
    return parents, codes


def _paths(parents: NDArray[np.int64], codes: NDArray[np.uint8], num_leaves: int) -> HuffmanTree:
    """Walk from all leaves to the root at once, a level at a time."""
    depth = [0] * (len(parents) + 1)
    for node, parent in zip(range(len(parents) - 1, -1, -1), reversed(parents.tolist()), strict=True):
        depth[node] = depth[parent] + 1  # a parent has a larger number
    offsets = np.zeros(num_leaves + 1, np.int64)
    np.cumsum(depth[:num_leaves], out=offsets[1:])
    tree = HuffmanTree(np.zeros(offsets[-1], np.int32), np.zeros(offsets[-1], np.uint8), offsets)
    nodes, root = np.arange(num_leaves if num_leaves > 1 else 0), len(parents)
    places = offsets[1 : len(nodes) + 1] - 1
    while len(nodes):
        tree.codes[places] = codes[nodes]
        nodes = parents[nodes]
        tree.points[places] = nodes - num_leaves
        below = nodes != root
        nodes, places = nodes[below], places[below] - 1
    return tree
