"""Limits of rows' norms: the reference against torch, the processor's kernel against the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.engine import backend

NORMS = [1.0, 2.0, 3.5, 0.5, np.inf, 0.0, -1.0, -np.inf]
DIMS = [1, 3, 7, 8, 16, 17, 64, 100, 300]
DTYPES = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}  # and what rounding may change
DEVICES = ("cpu", "reference")
devices = pytest.mark.parametrize("device", DEVICES)


def renormalise(device, weight, *arguments):
    if device == "cpu" and weight.dtype == np.float16:
        weight = weight.view(np.int16)  # Numba has no float16
    backend.kernels(device, "renorm").renormalise(weight, *arguments)


def narrow(x, dtype):
    """A float64 array as a table of `dtype`; bfloat16 by cutting, which is a rounding too."""
    return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16) if dtype == "bfloat16" else x.astype(dtype)


def widen(table):
    if table.dtype == np.uint16:
        return (table.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return table.astype(np.float64)


def table(rng, rows, dim, dtype):
    return narrow(rng.standard_normal((rows, dim)) * rng.choice([0.01, 1.0, 3.0], (rows, 1)), dtype)


def torch_renorm(weight, rows, max_norm, norm_type):
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    tensor = torch.from_numpy(weight.copy())
    tensor = tensor.view(torch.bfloat16) if weight.dtype == np.uint16 else tensor
    torch.embedding_renorm_(tensor, torch.from_numpy(rows), max_norm, norm_type)
    return tensor.double().numpy()


@devices
@pytest.mark.parametrize("norm_type", NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_that_torch_agrees(device, dtype, norm_type):
    rng = np.random.default_rng(0)
    for dim in (1, 7, 16, 33, 100):
        weight = table(rng, 30, dim, dtype)
        weight[3] = 0
        rows = rng.permutation(30)[:20]
        for max_norm in (0.0, 0.5, 4.0, 1e4):
            wanted = torch_renorm(weight, rows, max_norm, norm_type)
            found = weight.copy()
            renormalise(device, found, rows, max_norm, norm_type, 0, len(rows))
            rtol = DTYPES[dtype]
            np.testing.assert_allclose(widen(found), wanted, rtol=rtol, atol=1e-30 if rtol < 1e-10 else 1e-7)


@devices
@pytest.mark.parametrize("norm_type", NORMS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_with_nan_and_infinity(device, dtype, norm_type):
    for dim in (3, 16, 37):
        for place in {0, dim // 2, dim - 1}:
            weight = narrow(np.linspace(1, 2, 3 * dim).reshape(3, dim), dtype)
            weight[0, place], weight[1, place] = narrow(np.array([np.nan, -np.inf]), dtype)
            rows = np.arange(3)
            wanted = torch_renorm(weight, rows, 0.5, norm_type)
            renormalise(device, weight, rows, 0.5, norm_type, 0, 3)
            np.testing.assert_allclose(widen(weight), wanted, rtol=DTYPES[dtype])


@devices
@pytest.mark.parametrize("dtype", DTYPES)
def test_that_rows_within_the_limit_keep_their_bytes(device, dtype):
    weight = table(np.random.default_rng(1), 40, 19, dtype)
    norms = np.linalg.norm(widen(weight), axis=1)
    limit = float(np.median(norms)) * 1.05
    before, rows = weight.copy(), np.arange(5, 40)
    renormalise(device, weight, rows, limit, 2.0, 0, 35)
    changed = (weight.view(np.uint8) != before.view(np.uint8)).any(axis=1)
    np.testing.assert_array_equal(changed, (norms > limit) & (np.arange(40) >= 5))
    after = np.linalg.norm(widen(weight), axis=1)[5:]
    assert (after <= limit * (1 + DTYPES[dtype])).all()


@devices
@pytest.mark.parametrize("dim", [16, 17, 130])
def test_that_a_range_changes_its_rows_only(device, dim):
    rng = np.random.default_rng(2)
    weight = rng.standard_normal((50, dim)).astype(np.float32)
    rows = rng.permutation(50)[:30].astype(np.int32)
    whole, split = weight.copy(), weight.copy()
    renormalise(device, whole, rows, 0.1, 2.0, 0, 30)
    for start, stop in ((20, 30), (0, 0), (0, 7), (7, 20)):
        renormalise(device, split, rows, 0.1, 2.0, start, stop)
    np.testing.assert_array_equal(split, whole)
    np.testing.assert_array_equal(np.sort(np.flatnonzero((whole != weight).any(axis=1))), np.sort(rows))


@devices
def test_tables_without_columns_or_rows(device):
    renormalise(device, np.zeros((3, 0), np.float32), np.arange(3), 1.0, 2.0, 0, 3)
    renormalise(device, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), 1.0, 2.0, 0, 0)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31), dim=st.sampled_from(DIMS), dtype=st.sampled_from(list(DTYPES)),
    index=st.sampled_from([np.int32, np.int64]), norm_type=st.sampled_from(NORMS), gap=st.integers(0, 3),
    max_norm=st.sampled_from([0.0, 0.3, 2.0, 50.0]),
)  # fmt: skip
def test_that_the_kernel_is_its_reference(seed, dim, dtype, index, norm_type, gap, max_norm):
    rng = np.random.default_rng(seed)
    weight = table(rng, 12, dim + gap, dtype)[:, :dim]  # a view with gaps between its rows
    rows = rng.permutation(12)[: rng.integers(0, 13)].astype(index)
    wanted, whole = weight.copy(), table(rng, 12, dim + gap, dtype)
    found = whole[:, :dim]
    found[:] = weight
    beside = whole[:, dim:].copy()
    for device, changed in (("reference", wanted), ("cpu", found)):
        renormalise(device, changed, rows, max_norm, norm_type, 0, len(rows))
    np.testing.assert_allclose(widen(found), widen(wanted), rtol=max(DTYPES[dtype], 1e-11), atol=1e-7)
    np.testing.assert_array_equal(whole[:, dim:], beside)
