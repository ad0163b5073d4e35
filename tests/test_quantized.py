"""Quantized tables: torch's and FBGEMM's bytes, the bags of their values, the processor's kernels and the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.engine import backend
from fastemb.engine.ragged import NO_PADDING

DIMS = [1, 2, 3, 7, 8, 15, 16, 17, 18, 31, 33, 64, 100, 101, 130, 300]
SUM, MEAN, SQRTN = 0, 1, 2
DEVICES = ("cpu", "reference")
devices = pytest.mark.parametrize("device", DEVICES)
PACKING = {8: (0, 0), 4: (0,)}  # half bytes a column, told by a length
both_bits = pytest.mark.parametrize("bits", [8, 4])


def module(device):
    return backend.kernels(device, "quantized")


def as_kernels_take_it(device, weight):
    """Numba has no float16, so its bits are handed over as int16."""
    return weight.view(np.int16) if device == "cpu" and weight.dtype == np.float16 else weight


def row_bytes(dim, bits):
    return dim + 8 if bits == 8 else (dim + 1) // 2 + 4


def quantized(device, weight, bits):
    table = np.full((len(weight), row_bytes(weight.shape[1], bits)), 0xAB, np.uint8)
    weight = as_kernels_take_it(device, weight)
    assert module(device).quantize(table, weight, PACKING[bits], 0, len(weight)) == -1
    return table


def dequantized(device, table, bits, dim):
    out = np.full((len(table), dim), np.nan, np.float32)
    module(device).dequantize(out, table, PACKING[bits], 0, len(table))
    return out


def awkward_rows(dim, scale=1.0, seed=0):
    """Random rows, constant ones, rows of zeros, of one sign, on a grid."""
    weight = (np.random.default_rng(seed).standard_normal((40, dim)) * scale).astype(np.float32)
    weight[3], weight[4], weight[5], weight[6] = weight[3, 0], 0, 1, np.float32(-3.3)
    weight[7], weight[8] = np.abs(weight[7]), -np.abs(weight[8])
    weight[9] = np.arange(dim) % 16
    weight[10] = np.arange(dim) % 256 - 128
    weight[11, 1:] = 0
    return weight + np.float32(0)  # no -0.0, which the two peers order as it comes


@devices
@both_bits
@pytest.mark.parametrize("scale", [1, 1e-3, 1e-7, 1e-9, 1e-20, 1e-42, 1e4])
def test_bytes_are_those_of_torch(device, bits, scale):
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    for dim in DIMS:
        if bits == 4 and dim % 2:
            continue  # torch packs even rows only
        weight = awkward_rows(dim, scale)
        name = "byte" if bits == 8 else "4bit"
        wanted = getattr(torch.ops.quantized, f"embedding_bag_{name}_prepack")(torch.from_numpy(weight)).numpy()
        table = quantized(device, weight, bits)
        np.testing.assert_array_equal(table, wanted)
        values = getattr(torch.ops.quantized, f"embedding_bag_{name}_unpack")(torch.from_numpy(table)).numpy()
        np.testing.assert_array_equal(dequantized(device, table, bits, dim), values)


@devices
@both_bits
def test_bytes_are_those_of_fbgemm(device, bits):
    torch = pytest.importorskip("torch", reason="FBGEMM's functions are torch's operators")
    pytest.importorskip("fbgemm_gpu", reason="FBGEMM is the oracle")
    for dim in (4, 8, 16, 64, 100, 300):
        weight = awkward_rows(dim)
        tensor = torch.from_numpy(weight)
        if bits == 8:
            wanted = torch.ops.fbgemm.FloatToFused8BitRowwiseQuantized(tensor)
        else:
            wanted = torch.ops.fbgemm.FloatToFusedNBitRowwiseQuantizedSBHalf(tensor, 4)
        np.testing.assert_array_equal(quantized(device, weight, bits), wanted.numpy())


@devices
@both_bits
def test_that_values_are_within_half_a_step(device, bits):
    for dim in DIMS:
        weight = awkward_rows(dim)
        table = quantized(device, weight, bits)
        step = np.ptp(weight, axis=1, keepdims=True) / (2**bits - 1)
        slack = np.abs(weight).max(axis=1, keepdims=True) * (1e-6 if bits == 8 else 2e-3)
        assert (np.abs(dequantized(device, table, bits, dim) - weight) <= step / 2 + slack).all()


@devices
@both_bits
@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.uint16])
def test_tables_of_other_types(device, bits, dtype):
    exact = np.random.default_rng(0).integers(-100, 100, (9, 21)).astype(np.float32) / 4
    weight = (exact.view(np.uint32) >> 16).astype(np.uint16) if dtype == np.uint16 else exact.astype(dtype)
    np.testing.assert_array_equal(quantized(device, weight, bits), quantized(device, exact, bits))


@devices
@both_bits
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_cannot_be_held(device, bits, value):
    for dim in (1, 5, 16, 37):
        for place in {0, dim // 2, dim - 1}:
            weight = awkward_rows(dim)
            weight[13, place], weight[20, place] = value, value
            table = np.zeros((40, row_bytes(dim, bits)), np.uint8)
            assert module(device).quantize(table, weight, PACKING[bits], 0, 40) == 13
            assert module(device).quantize(table, weight, PACKING[bits], 14, 40) == 20
            assert module(device).quantize(table, weight, PACKING[bits], 21, 40) == -1
            assert not table[13].any()


@devices
@pytest.mark.parametrize(("bits", "row"), [(8, [-3e38, 3e38]), (4, [1e5, 1e5]), (4, [0, 1e6]), (4, [-1e5, 0])])
def test_ranges_that_cannot_be_held(device, bits, row):
    weight = np.array([[0, 1], row], np.float32)
    table = np.zeros((2, row_bytes(2, bits)), np.uint8)
    assert module(device).quantize(table, weight, PACKING[bits], 0, 2) == 1


def test_that_a_double_beyond_float32_cannot_be_held():
    for device in DEVICES:
        table = np.zeros((2, 10), np.uint8)
        assert module(device).quantize(table, np.array([[0, 1], [0, 1e300]]), PACKING[8], 0, 2) == 1


@devices
def test_that_a_bias_of_zero_is_positive(device):
    for bits in (8, 4):
        table = quantized(device, np.array([[-0.0, 0.0, 1.0], [-0.0, -0.0, -0.0]], np.float32), bits)
        assert not np.signbit(dequantized(device, table, bits, 3)).any()


@devices
def test_tables_without_rows_or_columns(device):
    for bits in (8, 4):
        table = quantized(device, np.zeros((2, 0), np.float32), bits)
        assert dequantized(device, table, bits, 0).shape == (2, 0)
        empty = np.zeros((0, row_bytes(5, bits)), np.uint8)
        out, indices = np.ones((2, 5), np.float32), np.zeros(0, np.int64)
        arguments = (out, empty, PACKING[bits], indices, np.zeros(3, np.int64), None, NO_PADDING, SUM, 0, 2)
        assert module(device).reduce(*arguments) == -1
        assert not out.any()


def draw_bags(rng, num_embeddings, index, padding_idx):
    sizes = rng.integers(0, 8, rng.integers(1, 12))
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    low = -1 if padding_idx == -1 else 0
    return rng.integers(low, num_embeddings, offsets[-1]).astype(index), offsets


everything = {
    "seed": st.integers(0, 2**31), "dim": st.sampled_from(DIMS), "bits": st.sampled_from([8, 4]),
    "index": st.sampled_from([np.int32, np.int64]), "padding_idx": st.sampled_from([NO_PADDING, -1, 2]),
}  # fmt: skip


@settings(deadline=None, max_examples=80)
@given(**everything, mode=st.sampled_from([SUM, MEAN, SQRTN]), weighted=st.booleans())
def test_that_bags_are_the_reference(seed, dim, bits, index, padding_idx, mode, weighted):
    rng = np.random.default_rng(seed)
    table = quantized("reference", rng.standard_normal((13, dim)), bits)
    table.flags.writeable = False
    indices, offsets = draw_bags(rng, 13, index, padding_idx)
    coefficients = rng.standard_normal(len(indices)).astype(np.float32) if weighted else None
    found, wanted = (np.full((len(offsets) - 1, dim), np.nan, np.float32) for _ in range(2))
    for device, out in (("cpu", found), ("reference", wanted)):
        last = len(offsets) - 1
        for start, stop in ((last // 2, last), (0, last // 2)):
            arguments = (out, table, PACKING[bits], indices, offsets, coefficients, padding_idx, mode, start, stop)
            assert module(device).reduce(*arguments) == -1
    size = 100 if mode == SUM or not weighted else 1000  # a mean may divide by a small sum of coefficients
    np.testing.assert_allclose(found, wanted, rtol=1e-3 if size > 100 else 1e-5, atol=size * 1e-6)


@settings(deadline=None, max_examples=60)
@given(**everything, sign=st.sampled_from([1.0, -1.0]))
def test_that_lookups_and_extremes_are_the_reference(seed, dim, bits, index, padding_idx, sign):
    rng = np.random.default_rng(seed)
    table = quantized("reference", rng.standard_normal((13, dim)), bits)
    indices, offsets = draw_bags(rng, 13, index, padding_idx)
    rows, best = {}, {}
    for device in DEVICES:
        rows[device] = np.full((len(indices), dim), np.nan, np.float32)
        best[device] = np.full((len(offsets) - 1, dim), np.nan, np.float32)
        half, last = len(indices) // 2, len(offsets) - 1
        for start, stop in ((half, len(indices)), (0, half)):
            assert module(device).lookup(rows[device], table, PACKING[bits], indices, padding_idx, start, stop) == -1
        arguments = (best[device], table, PACKING[bits], indices, offsets, padding_idx, sign, 0, last)
        assert module(device).extremes(*arguments) == -1
    np.testing.assert_array_equal(rows["cpu"], rows["reference"])
    np.testing.assert_array_equal(best["cpu"], best["reference"])


@devices
@both_bits
@pytest.mark.parametrize("bad", [-1, 13, 2**31 - 1, -(2**31)])
def test_status_of_a_bad_index(device, bits, bad):
    for dim in (3, 16, 40):
        table = quantized("reference", np.ones((13, dim)), bits)
        for padding_idx in (NO_PADDING, 2):
            indices = np.array([1, 2, 12, bad, 0, bad])
            out = np.zeros((6, dim), np.float32)
            offsets = np.array([0, 3, 6])
            kernels = module(device)
            assert kernels.lookup(out, table, PACKING[bits], indices, padding_idx, 0, 6) == 3
            assert kernels.lookup(out, table, PACKING[bits], indices, padding_idx, 4, 6) == 5
            assert kernels.reduce(out, table, PACKING[bits], indices, offsets, None, padding_idx, SUM, 0, 2) == 3
            assert kernels.reduce(out, table, PACKING[bits], indices, offsets, None, padding_idx, SUM, 0, 1) == -1
            assert kernels.extremes(out, table, PACKING[bits], indices, offsets, padding_idx, 1.0, 0, 2) == 3


@devices
@both_bits
def test_status_of_bad_offsets(device, bits):
    table, indices = quantized("reference", np.ones((13, 20)), bits), np.zeros(4, np.int64)
    for offsets, bag in (([0, 2, 1, 4], 1), ([-1, 2, 3, 4], 0), ([0, 1, 2, 5], 2)):
        out = np.zeros((3, 20), np.float32)
        offsets = np.array(offsets)
        arguments = (out, table, PACKING[bits], indices, offsets, None, NO_PADDING, SUM, 0, 3)
        assert module(device).reduce(*arguments) == -2 - bag
        assert module(device).extremes(out, table, PACKING[bits], indices, offsets, NO_PADDING, 1.0, 0, 3) == -2 - bag


@settings(deadline=None, max_examples=60, derandomize=True)
@given(seed=st.integers(0, 2**31), size=st.sampled_from([0, 1, 15, 16, 17, 63, 64, 65, 200]), cut=st.floats(0, 1))
def test_that_short_floats_are_the_reference(seed, size, cut):
    bits = np.random.default_rng(seed).integers(0, 2**16, size).astype(np.uint16)  # NaN and subnormal ones, too
    for values in (bits, bits.view(np.int16)):
        found, wanted = (np.full(size, 7, np.float32) for _ in range(2))
        for device, out in (("cpu", found), ("reference", wanted)):
            for start, stop in ((int(cut * size), size), (0, int(cut * size) // 2)):
                with np.errstate(invalid="ignore"):
                    module(device).floats(out, values, start, stop)
        np.testing.assert_array_equal(found, wanted)
