"""Indexes of other libraries hold the rows at length one, under their numbers."""

import subprocess
import sys

import numpy as np
import pytest

from fastemb import KeyedVectors


@pytest.fixture(scope="module")
def kv() -> KeyedVectors:
    vectors = np.random.default_rng(0).standard_normal((800, 24)).astype(np.float32)
    vectors[3] = 0
    vectors[5, 1] = np.nan
    return KeyedVectors.from_words([f"w{i}" for i in range(800)], vectors)


def recall(kv: KeyedVectors, found: np.ndarray) -> float:
    """Of the ten rows nearest to each of the first rows but the two strange ones, the share that was found."""
    exact, _ = kv.most_similar_batch(kv.vectors[10:60], arrays=True)
    return float(np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(exact, found, strict=True)]))


def test_usearch(kv: KeyedVectors) -> None:
    pytest.importorskip("usearch", reason="usearch is not installed")
    index = kv.to_usearch()
    assert len(index) == 799  # without the row that is no number
    found = index.search(kv.vectors[10:60], 10)
    assert recall(kv, found.keys) > 0.95
    exact, cosines = kv.most_similar_batch(kv.vectors[10:11], topn=1, arrays=True)
    assert found.keys[0, 0] == exact[0, 0]
    np.testing.assert_allclose(1 - found.distances[0, 0], cosines[0, 0], atol=1e-5)
    assert recall(kv, kv.to_usearch(dtype="i8", connectivity=32).search(kv.vectors[10:60], 10).keys) > 0.7
    small = KeyedVectors.from_words(kv.index_to_key[10:], kv.vectors[10:]).quantize()
    assert len(small.to_usearch()) == 790


def test_faiss(kv: KeyedVectors) -> None:
    pytest.importorskip("faiss", reason="faiss is not installed")
    units = kv.get_normed_vectors()[10:60]
    cosines, rows = kv.to_faiss("Flat").search(units, 10)
    exact, wanted = kv.most_similar_batch(units, arrays=True)
    assert (rows == exact).all()
    np.testing.assert_allclose(cosines, wanted, atol=1e-5)
    index = kv.to_faiss()
    assert index.ntotal == 800
    assert recall(kv, index.search(units, 10)[1]) > 0.95
    trained = kv.to_faiss("IVF4,Flat")
    trained.nprobe = 4
    assert recall(kv, trained.search(units, 10)[1]) == 1


def test_usearch_and_then_faiss_in_one_process() -> None:
    """Faiss crashes where usearch was loaded before it, unless what tests load, such as Numba, came first."""
    for module in ("usearch", "faiss"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    code = (
        "import numpy as np, sys\n"
        "from fastemb import KeyedVectors\n"
        "kv = KeyedVectors.from_words(['a', 'b'], np.eye(2, dtype=np.float32))\n"
        "assert 'numba' not in sys.modules\n"
        "print(len(kv.to_usearch()), kv.to_faiss().ntotal)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["2", "2"], (ran.returncode, ran.stderr)


def test_annoy(kv: KeyedVectors) -> None:
    pytest.importorskip("annoy", reason="annoy is not installed")
    index = kv.to_annoy(num_trees=50)
    found = np.array([index.get_nns_by_vector(vector, 10, search_k=5000) for vector in kv.vectors[10:60]])
    assert recall(kv, found) > 0.95


@pytest.mark.parametrize(("method", "module"), [("usearch", "usearch.index"), ("faiss", "faiss"), ("annoy", "annoy")])
def test_what_is_missing_is_named(kv: KeyedVectors, method: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"to_{method} needs {method}: pip install 'fastemb\[{method}\]'"):
        getattr(kv, f"to_{method}")()
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ImportError, match=r"wmdistance needs POT: pip install 'fastemb\[wmd\]'"):
        kv.wmdistance(["w1"], ["w2"])
