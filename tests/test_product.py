"""Product quantization: the kernel beside its specification, and tables of codes."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.engine.backend import kernels
from fastemb.engine.means import gather, mean_rows
from fastemb.engine.product import ProductRows, quantize_product
from fastemb.formats.compact import CompactVectors


@settings(max_examples=40, deadline=None, derandomize=True)
@given(num_points=st.integers(0, 30), dim=st.integers(1, 5), seed=st.integers(0, 9), coarse=st.booleans())
def test_nearest_is_the_reference(num_points, dim, seed, coarse):
    random = np.random.default_rng(seed)
    points, columns = (random.standard_normal(shape).astype(np.float32) for shape in ((num_points, dim), (dim, 256)))
    if coarse:  # equal distances, of which the first counts
        points, columns = np.rint(points), np.rint(columns)
    cpu, reference = kernels("cpu", "product"), kernels("reference", "product")
    found, wanted = np.full(num_points, 7, np.uint8), np.full(num_points, 7, np.uint8)
    start, stop = min(2, num_points), max(num_points - 1, min(2, num_points))
    cpu.nearest(found, points, columns, start, stop, cpu.allocate_scratch())
    reference.nearest(wanted, points, columns, start, stop)
    assert found.tolist() == wanted.tolist()


def test_rows_are_their_centroids():
    random = np.random.default_rng(1)
    dim, dsub = 7, 3
    codes = random.integers(0, 256, (5, 3), np.uint8)
    centroids = random.standard_normal(256 * dim).astype(np.float32)
    norm_codes, norms = random.integers(0, 256, 5, np.uint8), random.random(256, np.float32)
    blocks = [centroids[:768].reshape(256, 3), centroids[768:1536].reshape(256, 3), centroids[1536:].reshape(256, 1)]
    wanted = np.hstack([block[codes[:, piece]] for piece, block in enumerate(blocks)])
    np.testing.assert_array_equal(ProductRows(codes, centroids, dsub).dequantize(), wanted)
    rows = ProductRows(codes, centroids, dsub, norm_codes, norms)
    scaled = wanted * norms[norm_codes][:, None]
    np.testing.assert_array_equal(rows.dequantize(), scaled)
    np.testing.assert_array_equal(rows[np.array([4, 0, 4])], scaled[[4, 0, 4]])
    np.testing.assert_array_equal(rows.take(slice(1, 3))[:], scaled[1:3])
    assert rows.shape == (5, 7) and rows[np.empty(0, np.int32)].shape == rows[3:3].shape == (0, 7)


def test_few_distinct_rows_are_kept_exactly():
    """256 rows are their own centroids; with fewer distinct ones the others have no points."""
    random = np.random.default_rng(2)
    distinct = random.standard_normal((100, 4)).astype(np.float32)
    weight = distinct[random.integers(0, 100, 600)]
    np.testing.assert_allclose(quantize_product(weight, 2).dequantize(), weight, atol=1e-5)


def test_error_is_that_of_kmeans():
    """No worse than scikit-like k-means would leave: the published bound for a uniform square cut into 256 cells."""
    weight = np.random.default_rng(3).random((3000, 4), np.float32)
    for qnorm in (False, True):
        rows = quantize_product(weight, 2, qnorm=qnorm)
        error = float(((rows.dequantize() - weight) ** 2).sum(axis=1).mean())
        # A square cell of side 1/16 has a mean square of 1/16^2/12 in each of two columns, twice.
        assert error < 1.1 * 4 / 16**2 / 12


def test_threads_and_seeds():
    weight = np.random.default_rng(4).standard_normal((5000, 3)).astype(np.float32)
    one = quantize_product(weight, 2, seed=1, workers=1)
    three = quantize_product(weight, 2, seed=1, workers=3)
    other = quantize_product(weight, 2, seed=2)
    np.testing.assert_array_equal(one.codes, three.codes)
    np.testing.assert_array_equal(one.centroids, three.centroids)
    assert not np.array_equal(one.codes, other.codes)


def test_reference_device_gives_the_same():
    weight = np.random.default_rng(5).standard_normal((256, 2)).astype(np.float32)
    np.testing.assert_array_equal(
        quantize_product(weight, device="reference").codes, quantize_product(weight, device="cpu").codes
    )


def test_bad_arguments():
    weight = np.zeros((255, 4), np.float32)
    with pytest.raises(ValueError, match="at least 256 rows for product quantization, got 255"):
        quantize_product(weight)
    with pytest.raises(ValueError, match=r"dsub must be an integer in \[1, 4\], got 5"):
        quantize_product(np.zeros((256, 4), np.float32), 5)


@pytest.mark.parametrize("kind", ["float32", "float16", "strided", "unaligned", "int8", "product"])
@pytest.mark.parametrize("num_bags", [3, 400])
def test_means_of_any_table(kind, num_bags):
    random = np.random.default_rng(6)
    weight = random.standard_normal((300, 24)).astype(np.float32)
    lengths = random.integers(0, 40, num_bags)
    offsets = np.cumsum([0, *lengths])
    values = random.integers(0, 300, offsets[-1]).astype(np.int32)
    rows = {
        "float32": lambda: weight,
        "float16": lambda: CompactVectors.of(weight, "float16"),
        "strided": lambda: np.hstack([weight, weight])[:, :24],
        "unaligned": lambda: np.frombuffer(b"x" + weight.tobytes(), np.float32, offset=1).reshape(weight.shape),
        "int8": lambda: CompactVectors.of(weight, "int8"),
        "product": lambda: quantize_product(weight, 2),
    }[kind]()
    exact = rows.dequantize() if isinstance(rows, ProductRows) else np.asarray(rows)
    wanted = np.array(
        [exact[values[a:b]].astype(np.float32).sum(axis=0) / max(b - a, 1) for a, b in itertools.pairwise(offsets)]
    )  # fmt: skip
    found = mean_rows(rows, values, offsets)
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    np.testing.assert_array_equal(gather(rows, values[:5]), exact[values[:5]].astype(np.float32))
    few = mean_rows(rows, values[: offsets[2]], offsets[:3])
    np.testing.assert_array_equal(few, found[:2])  # the same to the last bit, by either way
