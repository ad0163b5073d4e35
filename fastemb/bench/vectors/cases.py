"""The measurements of ``fastemb bench vectors``, which its runner starts in a process of its own."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastemb.engine.parallel import set_num_threads
from fastemb.vectors.keyed_vectors import KeyedVectors

TOPN = 10
CHECKED = 50
"""Queries whose answers are compared with the definition, in float64, before anything is timed."""
ONE_BY_ONE = 200
"""Queries that a program gets which takes them one by one: the time of one is what is reported."""
PRODUCTS = (64, 128, 256, 512, 1024)
"""Rows of queries that NumPy multiplies at a time; the fastest is what fastemb is compared with."""

Row = dict[str, Any]


def neighbors(kv: KeyedVectors, rows: np.ndarray, repeats: int) -> list[Row]:
    """Measure the batch, NumPy's product of the same matrices alone, and gensim."""
    words = [kv.index_to_key[row] for row in rows.tolist()]
    few = words[:ONE_BY_ONE]
    sides = {
        "fastemb, arrays": (lambda: kv.most_similar_batch(words, topn=TOPN, arrays=True), len(words)),
        "fastemb, lists of words": (lambda: kv.most_similar_batch(words, topn=TOPN), len(words)),
        "fastemb, word by word": (lambda: [kv.most_similar(word, topn=TOPN) for word in few], len(few)),
    }
    units = kv.get_normed_vectors()
    queries = units[rows]
    for size in PRODUCTS:
        sides[f"NumPy's product alone, {size} queries at a time"] = (_product(queries, units, size), len(words))
    peer = _gensim(kv)
    if peer is not None:
        sides["gensim, word by word"] = (lambda: [peer.most_similar(word, topn=TOPN) for word in few], len(few))
        _check_peer(kv, peer, words[:CHECKED])
    _check(kv, rows[:CHECKED], kv.most_similar_batch(words[:CHECKED], topn=TOPN, arrays=True)[0])
    return _timed(sides, repeats)


def compact(kv: KeyedVectors, rows: np.ndarray, repeats: int) -> list[Row]:
    """Measure tables of codes and of short floats: bytes, recall among the ten nearest, time."""
    words = [kv.index_to_key[row] for row in rows.tolist()]
    exact, _ = kv.most_similar_batch(words, topn=TOPN, arrays=True)
    tables = {
        "float32": kv,
        "float16": kv.quantize(dtype="float16"),
        "bfloat16": kv.quantize(dtype="bfloat16"),
        "int8": kv.quantize(bits=8),
        "int4": kv.quantize(bits=4),
    }
    sides = {name: (_batch(table, words), len(words)) for name, table in tables.items()}
    few = words[:ONE_BY_ONE]
    sides |= {f"{name}, one word": (_one(table, few), len(few)) for name, table in tables.items()}
    found = _timed(sides, repeats)
    for row in found:
        table = tables[row["label"].partition(",")[0]]
        row["bytes_per_word"] = table.vectors.nbytes / len(table)
        ids, _ = table.most_similar_batch(words, topn=TOPN, arrays=True)
        row["recall"] = recall(exact, ids)
    return found


def indexes(kv: KeyedVectors, rows: np.ndarray, repeats: int) -> list[Row]:
    """Measure usearch's and faiss's graphs beside the exact search: time to build, recall, time."""
    queries = kv.get_normed_vectors()[rows]
    exact, _ = kv.most_similar_batch(queries, topn=TOPN, arrays=True)
    sides: dict[str, tuple[Callable[[], Any], int]] = {
        "fastemb, exact": (lambda: kv.most_similar_batch(queries, topn=TOPN, arrays=True)[0], len(rows))
    }
    built = {}
    start = time.perf_counter()
    graph = kv.to_usearch()
    built["usearch"] = time.perf_counter() - start
    sides["usearch"] = (lambda: graph.search(queries, TOPN).keys, len(rows))
    start = time.perf_counter()
    other = kv.to_faiss("HNSW32")
    built["faiss, HNSW32"] = time.perf_counter() - start
    sides["faiss, HNSW32"] = (lambda: other.search(queries, TOPN)[1], len(rows))
    found = _timed(sides, repeats)
    for row in found:
        row["build_seconds"] = built.get(row["label"], 0.0)
        row["recall"] = recall(exact, np.asarray(sides[row["label"]][0]()).astype(np.int64))
    return found


def recall(exact: np.ndarray, found: np.ndarray) -> float:
    """Return the share of the rows of `exact` that are in the same row of `found`.

    Examples
    --------
    >>> recall(np.array([[1, 2], [3, 4]]), np.array([[2, 1], [3, 9]]))
    0.75
    """
    return float((exact[:, :, None] == found[:, None, :]).any(axis=2).mean())


def _timed(sides: dict[str, tuple[Callable[[], Any], int]], repeats: int) -> list[Row]:
    """Run all sides once to warm up, then in turn, round after round."""
    for call, _ in sides.values():
        call()
    rows: list[Row] = [{"label": name, "queries": count, "seconds": []} for name, (_, count) in sides.items()]
    for _ in range(repeats):
        for row, (call, _) in zip(rows, sides.values(), strict=True):
            start = time.perf_counter()
            call()
            row["seconds"].append(time.perf_counter() - start)
    return rows


def _product(queries: np.ndarray, units: np.ndarray, size: int) -> Callable[[], None]:
    room = np.empty((size, len(units)), np.float32)

    def product() -> None:
        for start in range(0, len(queries), size):
            block = queries[start : start + size]
            np.matmul(block, units.T, out=room[: len(block)])

    return product


def _batch(table: KeyedVectors, words: list[str]) -> Callable[[], Any]:
    return lambda: table.most_similar_batch(words, topn=TOPN, arrays=True)


def _one(table: KeyedVectors, words: list[str]) -> Callable[[], Any]:
    return lambda: [table.most_similar(word, topn=TOPN) for word in words]


def _gensim(kv: KeyedVectors) -> Any:
    try:
        from gensim.models import KeyedVectors as Peer
    except ImportError:
        return None
    peer = Peer(kv.vector_size)
    peer.add_vectors(kv.index_to_key, np.array(kv.vectors))
    peer.fill_norms()
    return peer


def _check(kv: KeyedVectors, rows: np.ndarray, ids: np.ndarray) -> None:
    units = np.asarray(kv.get_normed_vectors(), np.float64)
    for row, found in zip(rows.tolist(), ids, strict=True):
        cosines = units @ units[row]
        cosines[row] = -np.inf
        wanted = np.sort(cosines)[::-1][:TOPN]
        if not np.allclose(cosines[found], wanted, atol=1e-6):
            raise RuntimeError(f"the nearest words of word {row} must have cosines {wanted}, got {cosines[found]}")


def _check_peer(kv: KeyedVectors, peer: Any, words: list[str]) -> None:
    for word in words:
        ours, theirs = (side.most_similar(word, topn=TOPN) for side in (kv, peer))
        if not np.allclose([cosine for _, cosine in ours], [cosine for _, cosine in theirs], atol=1e-5):
            raise RuntimeError(f"the nearest words of {word!r} must be gensim's {theirs}, got {ours}")


def _table(settings: dict[str, Any]) -> KeyedVectors:
    if settings["vectors"] is not None:
        kv = KeyedVectors.load(settings["vectors"], limit=settings["num_words"])
        return KeyedVectors(np.array(kv.vectors), kv.vocabulary)
    shape = settings["num_words"], settings["vector_size"]
    vectors = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return KeyedVectors.from_words([f"w{row}" for row in range(shape[0])], vectors)


def main(argv: list[str]) -> None:
    """Measure what the file of settings says and write the rows to another file."""
    settings = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    set_num_threads(settings["threads"])
    kv = _table(settings)
    # Spread over the vocabulary, as frequent words' neighbours differ from rare words'.
    rows = np.linspace(0, len(kv) - 1, min(settings["num_queries"], len(kv))).astype(np.int64)
    measure = {"neighbors": neighbors, "compact": compact, "indexes": indexes}[settings["kind"]]
    found = {"num_words": len(kv), "vector_size": kv.vector_size, "rows": measure(kv, rows, settings["repeats"])}
    Path(argv[1]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
