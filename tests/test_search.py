"""Search for near rows: exact, in order, within its memory, whatever the threads and the blocks."""

import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb import KeyedVectors, num_threads
from fastemb.engine import blas
from fastemb.vectors import search


def table_of(num_words, dim, seed=0, distinct=None):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((distinct or num_words, dim)).astype(np.float32)
    return rows if distinct is None else rows[rng.integers(0, distinct, num_words)]


def nearest(vectors, queries, k, own):
    """The definition, in float64: rows by falling cosine and, where rounding leaves no difference, by number."""
    rows = vectors.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1).astype(np.float64)
    answers = []
    for query, left_out in zip(queries.astype(np.float64), own, strict=True):
        cosines = ((rows * query).sum(axis=1) / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        cosines[np.isnan(cosines)] = -np.inf
        order = [row for row in np.lexsort((np.arange(len(rows)), -cosines)) if row not in left_out]
        answers.append([row for row in order if cosines[row] > -np.inf][:k])
    return answers


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    seed=st.integers(0, 2**31),
    num_words=st.sampled_from([1, 5, 63, 64, 65, 400, 3000]),
    num_queries=st.sampled_from([0, 1, 3, 64, 77]),
    k=st.sampled_from([1, 10, 100, 5000]),
    dim=st.sampled_from([1, 8, 33]),
    distinct=st.sampled_from([None, 1, 7]),
    memory=st.sampled_from([1, 1 << 16, 1 << 25]),
    workers=st.sampled_from([1, 2, 3]),
)
def test_search_is_the_definition(seed, num_words, num_queries, k, dim, distinct, memory, workers):
    vectors = table_of(num_words, dim, seed, distinct)
    rng = np.random.default_rng(seed)
    for row, value in ((1, 0), (3, np.nan), (4, np.inf)):
        if num_words > 10:
            vectors[row] = value
    own = [rng.integers(0, num_words, rng.integers(0, 3)).tolist() for _ in range(num_queries)]
    queries = search.units(table_of(num_queries, dim, seed + 1))
    with np.errstate(invalid="ignore"):
        wanted = nearest(vectors, queries, k, own)
    ids, scores = search.top_k(vectors, search.norms_of(vectors), queries, k, own, memory, workers)
    assert ids.shape == scores.shape == (num_queries, min(k, num_words))
    assert [[row for row in rows if row >= 0] for rows in ids.tolist()] == wanted
    assert (np.isnan(scores) == (ids < 0)).all()
    for row in range(num_queries):
        kept = scores[row][ids[row] >= 0]
        assert (np.diff(kept) <= 0).all()


def test_threads_and_blocks_change_nothing(monkeypatch):
    vectors = table_of(9000, 40)
    kv = KeyedVectors.from_words([f"w{i}" for i in range(9000)], vectors)
    batch = kv.index_to_key[:700]
    alone = kv.most_similar_batch(batch, workers=1)
    assert [kv.most_similar(word) for word in batch[::50]] == alone[::50]
    for workers in (2, 3):
        assert kv.most_similar_batch(batch, workers=workers) == alone
        assert kv.most_similar_batch(batch[:5], workers=workers) == alone[:5]
    for size in (1, 1 << 12, 1 << 20):
        for name in ("_PRODUCTS", "_ROWS", "_QUERIES", "_GATHERED"):
            monkeypatch.setattr(search, name, max(size, 300))
        monkeypatch.setattr(search, "_SERIAL", size)
        for few in (0, 1000):  # by one kernel, and by products and a scan
            monkeypatch.setattr(search, "_FEW", few)
            assert kv.most_similar_batch(batch[:90], memory=1 << 16, workers=2) == alone[:90]


def test_crowds_of_equal_rows_are_found_in_order():
    vectors = np.ones((5000, 3), np.float32)
    vectors[4000] = [3, 0, 0]
    kv = KeyedVectors.from_words([f"w{i}" for i in range(5000)], vectors)
    ids, scores = kv.most_similar_batch(["w10", "w4000", "w4999"], topn=50, arrays=True)
    assert ids[0].tolist() == [row for row in range(51) if row != 10]
    assert ids[1].tolist() == list(range(50)) and ids[2].tolist() == list(range(50))
    assert (scores[1] == np.float32(1 / np.sqrt(3))).all()


def test_memory_stays_within_its_bound():
    vectors = table_of(60_000, 16)
    kv = KeyedVectors.from_words([f"w{i}" for i in range(60_000)], vectors)
    queries = vectors[:4000]
    options = {"topn": 5, "arrays": True, "memory": 1 << 22, "workers": 2}
    kv.most_similar_batch(queries, **options)  # compiles
    tracemalloc.start()
    kv.most_similar_batch(queries, **options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    answer = 4000 * 5 * 12
    assert peak < (1 << 22) + answer + 6 * queries.nbytes + 60_000 * 12  # the products would be 960 MB


def test_all_rows_in_order_take_no_copy_of_the_table():
    vectors = table_of(50_000, 128)
    kv = KeyedVectors.from_words([f"w{i}" for i in range(50_000)], vectors)
    kv.most_similar("w1")
    tracemalloc.start()
    found = kv.most_similar("w7", topn=50_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 49_999 and peak < 0.8 * vectors.nbytes  # and of that most is the list of words
    cosines = [cosine for _, cosine in found]
    assert cosines == sorted(cosines, reverse=True)


def test_arrays():
    kv = KeyedVectors.from_words(list("abcd"), np.array([[1, 0], [1, 0.1], [0, 1], [np.nan, 0]], np.float32))
    ids, scores = kv.most_similar_batch(["a", ["a", "c"]], topn=3, arrays=True)
    assert ids.dtype == np.int64 and scores.dtype == np.float32
    assert ids.tolist() == [[1, 2, -1], [1, -1, -1]]
    np.testing.assert_allclose(scores, [[np.cos(np.arctan(0.1)), 0, np.nan], [0.7739573, np.nan, np.nan]], rtol=1e-6)
    assert [a.shape for a in kv.most_similar_batch([], topn=3, arrays=True)] == [(0, 3), (0, 3)]
    assert [a.shape for a in kv.most_similar_batch(["a"], topn=0, arrays=True)] == [(1, 0), (1, 0)]
    ids, _ = kv.most_similar_batch(["a"], topn=9, restrict_vocab=2, arrays=True)
    assert ids.tolist() == [[1, -1]]
    with pytest.raises(ValueError, match="memory must be an integer >= 1, got 0"):
        kv.most_similar_batch(["a"], memory=0)
    with pytest.raises(ValueError, match=r"workers must be an integer in \[1, 1024\], got 0"):
        kv.most_similar_batch(["a"], workers=0)


def test_parts_of_the_vocabulary():
    kv = KeyedVectors.from_words([f"w{i}" for i in range(200)], table_of(200, 12))
    everything = [word for word, _ in kv.most_similar("w20", topn=200)]
    part = [word for word in everything if 10 <= int(word[1:]) < 60]
    assert [word for word, _ in kv.most_similar("w20", topn=200, clip_start=10, clip_end=60)] == part
    assert [word for word, _ in kv.most_similar("w20", topn=3, clip_start=10, clip_end=60)] == part[:3]
    assert kv.most_similar("w20", topn=None, clip_start=10, clip_end=60).shape == (50,)
    assert kv.most_similar("w20", clip_start=300) == []


def test_the_products_library_is_left_as_it_was():
    if blas._openblas() is None:
        pytest.skip("NumPy has no OpenBLAS of its own")
    threads = blas._openblas().get
    before = threads()
    with blas.product_threads(before + 1):
        assert threads() == before  # no more than there were
        with blas.product_threads(1) as bounded:
            assert bounded and threads() == 1
    assert threads() == before
    with pytest.raises(KeyError), blas.product_threads(1):
        raise KeyError
    assert threads() == before


def test_several_threads_may_search_at_once():
    kv = KeyedVectors.from_words([f"w{i}" for i in range(4000)], table_of(4000, 30))
    batch = kv.index_to_key[:300]
    wanted, found = kv.most_similar_batch(batch), []
    with num_threads(2):
        callers = [threading.Thread(target=lambda: found.append(kv.most_similar_batch(batch))) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert found == [wanted] * 4


def test_workers_are_bounded(monkeypatch):
    teams, products = [], []
    ordered_map, product_threads = search.ordered_map, search.product_threads
    monkeypatch.setattr(search, "_SERIAL", 0)
    monkeypatch.setattr(
        search, "ordered_map", lambda function, items, team: teams.append(team) or ordered_map(function, items, team)
    )
    monkeypatch.setattr(search, "product_threads", lambda most: products.append(most) or product_threads(most))
    kv = KeyedVectors.from_words([f"w{i}" for i in range(4000)], table_of(4000, 30))
    kv.most_similar_batch(kv.index_to_key[:300], workers=3)
    assert teams == [3] and products == [1]
    kv.most_similar_batch(kv.index_to_key[:5], workers=3)
    assert teams == [3, 1] and products == [1, 3]
    with num_threads(1):
        kv.most_similar_batch(kv.index_to_key[:300])
        kv.most_similar("w1")
    assert teams == [3, 1, 1, 1] and products == [1, 3, 1, 1]
