"""Huffman's tree, against word2vec.c's construction written out plainly."""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.engine.huffman import huffman_tree

UNMADE = 10**15  # word2vec.c's count of an inner node that is not made yet


def word2vec_tree(counts):
    """The code and the path of every word as word2vec.c's CreateBinaryTree makes them, loop by loop."""
    size = len(counts)
    count = [*counts, *[UNMADE] * size]
    parent, binary = [0] * (2 * size), [0] * (2 * size)
    pos1, pos2 = size - 1, size
    for a in range(size - 1):
        least = []
        for _ in range(2):
            if pos1 >= 0 and count[pos1] < count[pos2]:
                least.append(pos1)
                pos1 -= 1
            else:
                least.append(pos2)
                pos2 += 1
        count[size + a] = count[least[0]] + count[least[1]]
        parent[least[0]] = parent[least[1]] = size + a
        binary[least[1]] = 1
    paths = []
    for word in range(size):
        node, codes, points = word, [], []
        while node != 2 * size - 2:
            codes.append(binary[node])
            node = parent[node]
            points.append(node - size)
        paths.append((points[::-1], codes[::-1]))
    return paths


def paths_of(tree):
    pairs = zip(tree.offsets, tree.offsets[1:], strict=False)
    return [(tree.points[a:b].tolist(), tree.codes[a:b].tolist()) for a, b in pairs]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=60), st.booleans())
def test_equals_word2vec(counts, falling):
    counts = sorted(counts, reverse=True) if falling else counts
    assert paths_of(huffman_tree(np.array(counts, np.int64))) == word2vec_tree(counts)


def test_equals_word2vec_on_counts_of_words():
    counts = np.sort(np.random.default_rng(1).zipf(1.3, 3000).clip(1, 10**6))[::-1]
    assert paths_of(huffman_tree(counts)) == word2vec_tree(counts.tolist())


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=200))
def test_no_code_is_shorter(counts):
    """The sum of all codes of a text is the least that there is: that of any other construction of Huffman's."""
    counts.sort(reverse=True)
    heap, least = list(counts), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        least += both
        heapq.heappush(heap, both)
    assert np.diff(huffman_tree(np.array(counts)).offsets) @ counts == least


def test_lengths_equal_gensims():
    word2vec = pytest.importorskip("gensim.models.word2vec", reason="gensim is not installed")
    counts = np.sort(np.random.default_rng(2).zipf(1.4, 500).clip(1, 10**6))[::-1]
    words = {f"w{n}": int(count) for n, count in enumerate(counts)}
    model = word2vec.Word2Vec(vector_size=2, min_count=1, hs=1, negative=0)
    model.build_vocab_from_freq(words)
    lengths = [len(model.wv.get_vecattr(word, "code")) for word in words]
    assert np.dot(lengths, counts) == np.diff(huffman_tree(counts).offsets) @ counts


@pytest.mark.parametrize("size", [0, 1])
def test_a_tree_of_one_leaf_has_no_path(size):
    tree = huffman_tree(np.ones(size, np.int64))
    assert len(tree.points) == len(tree.codes) == 0 and tree.offsets.tolist() == [0] * (size + 1)


def test_counts_beyond_32_bits():
    counts = np.array([2**40, 2**40, 2**33, 1], np.int64)
    assert paths_of(huffman_tree(counts)) == word2vec_tree(counts.tolist())
