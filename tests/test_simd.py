"""The SIMD type: values lane by lane, and what it refuses when a kernel is compiled."""

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from fastemb.kernels.cpu import simd
from fastemb.kernels.cpu.options import kernel

WIDTHS = pytest.mark.parametrize("width", [simd.W8, simd.W16], ids=["8 lanes", "16 lanes"])


def unary(operation):
    # Compiled with the kernels' own fastmath flags: they must not break the arithmetic.
    @njit(fastmath={"reassoc", "contract", "nsz", "arcp"}, error_model="numpy")
    def run(x, y, width):
        simd.store(simd.mutable_address(y, 0), operation(simd.load(simd.address(x, 0), width)))

    return run


def applied(run, x, width):
    lanes = simd.UNIT * len(width)
    x = np.resize(np.asarray(x, np.float32), -(-len(x) // lanes) * lanes)
    y = np.zeros_like(x)
    for first in range(0, len(x), lanes):
        run(x[first : first + lanes], y[first : first + lanes], width)
    return x, y


@WIDTHS
def test_exp(width):
    run = unary(simd.exp)
    x, y = applied(run, np.linspace(-80, 80, 4001), width)
    near = np.abs(x) <= 16
    np.testing.assert_allclose(y[near], np.exp(x[near].astype(float)), rtol=1e-6)
    np.testing.assert_allclose(y, np.exp(x.astype(float)), rtol=2e-6)
    assert np.isnan(applied(run, [np.nan] * 16, width)[1]).all()


@WIDTHS
def test_log(width):
    run = unary(simd.log)
    x, y = applied(run, np.concatenate([np.geomspace(1e-37, 1e37, 4000), np.linspace(0.5, 2, 4000)]), width)
    np.testing.assert_allclose(y, np.log(x.astype(float)), rtol=4e-7, atol=4e-7)
    assert np.isnan(applied(run, [np.nan] * 16, width)[1]).all()


@WIDTHS
def test_sqrt(width):
    x, y = applied(unary(simd.sqrt), [0, 1, 2, 1e-38, 1e38, np.inf, np.nan], width)
    np.testing.assert_array_equal(y, np.sqrt(x))


def test_trailing_zeros():
    @njit
    def run(bits):
        return simd.trailing_zeros(bits)

    for place in (0, 1, 31, 32, 63):
        assert run(np.uint64(1 << place)) == place == run(np.uint64((1 << 63) | 1 << place))


@WIDTHS
@pytest.mark.parametrize("number", [6, 12])
def test_totals(width, number):
    @kernel
    def six(x, y, width):
        a = simd.address(x.reshape(-1), 0)
        n = 4 * x.shape[1]
        rows = (simd.load(a, width), simd.load(a + n, width), simd.load(a + 2 * n, width),
                simd.load(a + 3 * n, width), simd.load(a + 4 * n, width), simd.load(a + 5 * n, width))  # fmt: skip
        simd.store(simd.mutable_address(y, 0), simd.totals(rows))

    @kernel
    def twelve(x, y, width):
        a = simd.address(x.reshape(-1), 0)
        n = 4 * x.shape[1]
        rows = (simd.load(a, width), simd.load(a + n, width), simd.load(a + 2 * n, width),
                simd.load(a + 3 * n, width), simd.load(a + 4 * n, width), simd.load(a + 5 * n, width),
                simd.load(a + 6 * n, width), simd.load(a + 7 * n, width), simd.load(a + 8 * n, width),
                simd.load(a + 9 * n, width), simd.load(a + 10 * n, width), simd.load(a + 11 * n, width))  # fmt: skip
        simd.store(simd.mutable_address(y, 0), simd.totals(rows))

    x = np.random.default_rng(0).normal(size=(number, simd.UNIT * len(width))).astype(np.float32)
    y = np.zeros(simd.BLOCK, np.float32)
    (six if number == 6 else twelve)(x, y, width)
    np.testing.assert_allclose(y[:number], x.sum(1), rtol=1e-5, atol=1e-5)


def test_clamp_keeps_nan():
    @kernel
    def run(x):
        a = simd.mutable_address(x, 0)
        simd.store(a, simd.clamp(simd.load(a, (0, 0)), np.float32(2)))

    x = np.array([-9, -2, -1, 0, 1, 2, 9, np.nan, np.inf, -np.inf] + [0.5] * 6, np.float32)
    run(x)
    np.testing.assert_array_equal(x, np.array([-2, -2, -1, 0, 1, 2, 2, np.nan, 2, -2] + [0.5] * 6, np.float32))


@njit
def writable(x):
    return simd.mutable_address(x, 0)


def test_address_is_where_the_element_lies():
    x = np.zeros(10, np.float32)

    @njit
    def third(x):
        return simd.address(x, 3)

    assert third(x) == x.ctypes.data + 12


@pytest.mark.parametrize("bad", [np.zeros(8), np.zeros(8, np.int32), np.zeros((8, 2), np.float32)[:, 0]])
def test_other_dtypes_and_layouts_are_refused(bad):
    with pytest.raises(TypingError, match="C-contiguous float32"):
        writable(bad)


def test_read_only_arrays_are_refused_for_writing():
    x = np.zeros(8, np.float32)
    x.flags.writeable = False
    with pytest.raises(TypingError, match="writable"):
        writable(x)


@WIDTHS
def test_the_greater_one_is_taken_and_a_nan_passed_over(width):
    @njit(fastmath={"reassoc", "contract", "nsz", "arcp"}, error_model="numpy")
    def run(x, y, out, width):
        a, b = simd.load(simd.address(x, 0), width), simd.load(simd.address(y, 0), width)
        simd.store(simd.mutable_address(out, 0), simd.maximum(a, b))
        return simd.any_greater(a, b)

    lanes = simd.UNIT * len(width)
    x, y, out = (np.zeros(lanes, np.float32) for _ in range(3))
    x[:4], y[:4] = [1, np.nan, -np.inf, 5], [2, 3, np.nan, 5]
    assert not run(x, y, out, width)
    np.testing.assert_array_equal(out[:4], [2, 3, np.nan, 5])
    for lane in range(lanes):
        x[:], y[:] = np.nan, 1
        x[lane] = np.nextafter(np.float32(1), np.float32(2))
        assert run(x, y, out, width)
        assert out[lane] > 1 and (np.delete(out, lane) == 1).all()
