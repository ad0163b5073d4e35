"""Bags from every form that users have them in, offsets, policies for indices outside the table."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.engine.arrays import accumulator, as_indices, as_integers, as_output, as_rows, as_table
from fastemb.engine.checks import check, index_error
from fastemb.engine.ragged import Bags, as_bags, padding_row, settle_invalid
from fastemb.kernels.reference.random import random_u64

ROWS = [[3, 1], [], [2, 2, 9]]
VALUES, OFFSETS = [3, 1, 2, 2, 9], [0, 2, 2, 5]
INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
FLOAT32 = np.dtype(np.float32)


def bags_of(input, offsets=None, num_embeddings=10, **options):
    return as_bags(input, offsets, num_embeddings, FLOAT32, **options)


def arrow(name):
    pa = pytest.importorskip("pyarrow", reason="Arrow arrays need pyarrow")
    lists = pa.array(ROWS, pa.list_(pa.int64()))
    return {
        "list": lists,
        "large": lists.cast(pa.large_list(pa.int64())),
        "int32": lists.cast(pa.list_(pa.int32())),
        "uint8": lists.cast(pa.list_(pa.uint8())),
        "sliced": pa.array([[7, 7], *ROWS, [8]])[1:4],
        "chunked": pa.chunked_array([ROWS[:1], ROWS[1:]]),
        "null": pa.array([ROWS[0], None, ROWS[2]]),
    }[name]


FORMS = {
    "offsets": lambda: (np.array(VALUES), np.array(OFFSETS[:-1])),
    "all offsets": lambda: (np.array(VALUES), np.array(OFFSETS), {"include_last_offset": True}),
    "short offsets": lambda: (np.array(VALUES), np.array(OFFSETS, np.uint8), {"include_last_offset": True}),
    "lists with offsets": lambda: (VALUES, OFFSETS[:-1]),
    "strided": lambda: (np.repeat(VALUES, 2)[::2], np.repeat(OFFSETS[:-1], 3)[::3]),
    "pair": lambda: ((np.array(VALUES), np.array(OFFSETS)), None),
    "pair of lists": lambda: ((VALUES, OFFSETS), None),
    "lists": lambda: (ROWS, None),
    "tuples": lambda: (tuple(tuple(row) for row in ROWS), None),
    "arrays": lambda: ([np.array(row, np.int16) for row in ROWS], None),
    "generator": lambda: ((row for row in ROWS), None),
    "objects": lambda: (np.array([np.array(row, int) for row in ROWS], object), None),
    **{f"arrow {name}": (lambda name=name: (arrow(name), None)) for name in
       ("list", "large", "int32", "uint8", "sliced", "chunked", "null")},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_are_the_same_bags(form):
    input, offsets, *options = FORMS[form]()
    bags = bags_of(input, offsets, **(options[0] if options else {}))
    assert bags.indices.tolist() == VALUES and bags.offsets.tolist() == OFFSETS
    assert bags.indices.dtype in (np.int32, np.int64) and bags.indices.flags.c_contiguous
    assert bags.offsets.dtype == np.int64 and bags.offsets.flags.c_contiguous
    assert bags.num_bags == 3


@pytest.mark.parametrize("as_series", [False, True])
def test_pandas_columns_are_bags(as_series):
    pd = pytest.importorskip("pandas", reason="a column of pandas")
    column = pd.Series(ROWS)
    if as_series:
        pa = pytest.importorskip("pyarrow", reason="Arrow's columns need pyarrow")
        column = column.astype(pd.ArrowDtype(pa.list_(pa.int64())))
    bags = bags_of(column)
    assert bags.indices.tolist() == VALUES and bags.offsets.tolist() == OFFSETS


def test_rows_of_a_matrix_are_bags():
    for matrix in (
        np.arange(6).reshape(2, 3),
        np.arange(6).reshape(3, 2).T,
        np.zeros((2, 0), int),
        np.zeros((0, 2), int),
    ):
        bags = bags_of(matrix, include_last_offset=True)  # ignored, as torch documents
        assert bags.indices.tolist() == matrix.ravel().tolist()
        assert bags.offsets.tolist() == [matrix.shape[1] * b for b in range(len(matrix) + 1)]


def test_fixed_size_lists_are_bags():
    pa = pytest.importorskip("pyarrow", reason="Arrow arrays need pyarrow")
    bags = bags_of(pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2)))
    assert bags.indices.tolist() == [1, 2, 3, 4] and bags.offsets.tolist() == [0, 2, 2, 4]


def test_what_fits_is_not_copied():
    pa = pytest.importorskip("pyarrow", reason="Arrow arrays need pyarrow")
    indices, offsets = np.array(VALUES), np.array(OFFSETS)
    bags = bags_of(indices, offsets, include_last_offset=True)
    assert bags.indices is indices and bags.offsets is offsets
    values = pa.array(VALUES)
    bags = bags_of(pa.ListArray.from_arrays(pa.array(OFFSETS, pa.int32()), values))
    assert bags.indices.ctypes.data == values.to_numpy().ctypes.data
    matrix = np.zeros((4, 5), np.int32)
    assert np.shares_memory(bags_of(matrix).indices, matrix)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_all_integers_are_indices(dtype):
    values = np.array([0, 100, np.iinfo(dtype).max if np.dtype(dtype).itemsize < 8 else 5], dtype)
    for array in (values, values.reshape(3, 1), values[::-1], values.astype(np.dtype(dtype).newbyteorder())):
        indices = as_indices(array)
        assert indices.tolist() == array.tolist() and indices.dtype in (np.int32, np.int64) and indices.flags.carray
    assert as_indices(values).dtype == (np.int32 if np.can_cast(dtype, np.int32) else np.int64)


@pytest.mark.parametrize("wrong", [np.array([1.0]), [1.5], np.array([True]), ["a"], np.array(["a"]), [None], 1.0, None])
def test_what_is_no_integer_is_no_index(wrong):
    with pytest.raises(TypeError, match="input must be integers, got"):
        as_indices(wrong)


def test_integers_beyond_int64_are_told():
    with pytest.raises(ValueError, match="input must be below 2\\*\\*63, got 18446744073709551615"):
        as_indices(np.array([2**64 - 1], np.uint64))
    assert as_indices([]).tolist() == [] and as_indices([[], []]).shape == (2, 0)
    with pytest.raises(ValueError, match="input must be rectangular, got rows of different lengths"):
        as_indices([[1], [2, 3]])


ERRORS = [
    (np.array(VALUES), None, {}, ValueError, "an input of 1 dimension needs offsets, got None"),
    (np.zeros((2, 2, 2), int), None, {}, ValueError, r"input must have 1 or 2 dimensions, got shape \(2, 2, 2\)"),
    (np.int64(3), None, {}, ValueError, r"input must have 1 or 2 dimensions, got shape \(\)"),
    (
        np.zeros((2, 2), int),
        [0],
        {},
        ValueError,
        r"offsets go with an input of one dimension, got input of shape \(2, 2\)",
    ),
    (VALUES, [[0, 1]], {}, ValueError, r"offsets must have 1 dimension, got shape \(1, 2\)"),
    (VALUES, [1, 2], {}, ValueError, "offsets must start at 0, got 1"),
    (VALUES, [-1, 2], {}, ValueError, "offsets must start at 0, got -1"),
    (VALUES, [], {}, ValueError, "offsets must start at 0, got no offsets for 5 lookups"),
    (
        VALUES,
        [],
        {"include_last_offset": True},
        ValueError,
        "offsets must end with the number of lookups, got no offsets",
    ),
    (
        VALUES,
        [0, 4],
        {"include_last_offset": True},
        ValueError,
        "offsets must end with the number of lookups, 5, got 4",
    ),
    (
        VALUES,
        [0, 6],
        {"include_last_offset": True},
        ValueError,
        "offsets must end with the number of lookups, 5, got 6",
    ),
    (VALUES, [0.0, 2.0], {}, TypeError, "offsets must be integers, got float64"),
    (VALUES, np.array([0.0]), {}, TypeError, "offsets must be integers, got float64"),
    (VALUES, np.array([0, 2**64 - 1], np.uint64), {}, ValueError, r"offsets must be below 2\*\*63"),
    ((VALUES, OFFSETS[:-1]), None, {}, ValueError, "offsets must end with the number of lookups, 5, got 2"),
    (
        ([VALUES], OFFSETS),
        None,
        {},
        ValueError,
        r"values that go with offsets must have 1 dimension, got shape \(1, 5\)",
    ),
    (np.array([1.0, 2.0]), [0], {}, TypeError, "input must be integers, got float64"),
    (np.array([[1.0, 2.0]]), None, {}, TypeError, "input must be integers, got float64"),
    (np.array([[True]]), None, {}, TypeError, "input must be integers, got bool"),
    ([1, 2], None, {}, ValueError, "input of one dimension needs offsets, got a number at position 0"),
    ([[1], [[2]]], None, {}, ValueError, r"input must hold flat sequences, got one of shape \(1, 1\) at position 1"),
    ([[1], ["a"]], None, {}, TypeError, "input must be integers, got <U1"),
    ("abc", None, {}, TypeError, "input must be an array, a sequence of sequences or an Arrow array, got str"),
    (7, None, {}, TypeError, "input must be an array, a sequence of sequences or an Arrow array, got int"),
    (None, None, {}, TypeError, "input must be an array, a sequence of sequences or an Arrow array, got NoneType"),
    (ROWS, None, {"padding_idx": 10}, ValueError, r"padding_idx must be an integer in \[-10, 9\], got 10"),
    (ROWS, None, {"padding_idx": -11}, ValueError, r"padding_idx must be an integer in \[-10, 9\], got -11"),
    (ROWS, None, {"padding_idx": 1.0}, TypeError, r"padding_idx must be an integer in \[-10, 9\], got 1.0"),
    (
        ROWS,
        None,
        {"on_invalid": "ignore"},
        ValueError,
        "on_invalid must be one of 'raise', 'clip', 'pad', 'hash', got 'ignore'",
    ),
    (
        ROWS,
        None,
        {"per_sample_weights": [[1.0, 1.0], [1.0], [1.0, 1.0]]},
        ValueError,
        "per_sample_weights must have as many weights a bag as input has indices, got 1 for 0 in bag 1",
    ),
    (
        ROWS,
        None,
        {"per_sample_weights": np.ones(4)},
        ValueError,
        r"per_sample_weights must have input's shape, \(5,\), got \(4,\)",
    ),
    (
        np.zeros((2, 3), int),
        None,
        {"per_sample_weights": np.ones(6)},
        ValueError,
        r"per_sample_weights must have input's shape, \(2, 3\), got \(6,\)",
    ),
    (VALUES, [0], {"per_sample_weights": ["a"] * 5}, TypeError, "per_sample_weights must be floats, got <U1"),
    (
        VALUES,
        [0],
        {"per_sample_weights": np.ones(5, complex)},
        TypeError,
        "per_sample_weights must be floats, got complex128",
    ),
]


@pytest.mark.parametrize(("input", "offsets", "options", "error", "message"), ERRORS, ids=range(len(ERRORS)))
def test_errors(input, offsets, options, error, message):
    with pytest.raises(error, match=message):
        bags_of(input, offsets, **options)


def test_errors_of_arrow():
    pa = pytest.importorskip("pyarrow", reason="Arrow arrays need pyarrow")
    with pytest.raises(ValueError, match="input must hold no null inside its lists, got 1"):
        bags_of(pa.array([[1, None], [2]]))
    assert bags_of(pa.array([[1, None], [2]]), on_invalid="pad").indices.tolist() == [1, -1, 2]
    with pytest.raises(TypeError, match="input must be an Arrow array of lists, got int64"):
        bags_of(pa.array([1, 2]))
    with pytest.raises(TypeError, match="input must be integers, got float64"):
        bags_of(pa.array([[1.0], [2.0]]))


def test_no_bags():
    for input, offsets, options in [
        ([], None, {}),
        ([], [], {}),
        (np.zeros(0, int), np.zeros(0, int), {}),
        ([], [0], {"include_last_offset": True}),
        (([], [0]), None, {}),
        (np.zeros((0, 3), int), None, {}),
    ]:
        bags = bags_of(input, offsets, **options)
        assert bags.num_bags == 0 and len(bags.indices) == 0 and bags.offsets.tolist() == [0]


@pytest.mark.parametrize(
    "weights", [[[1, 2], [], [3, 4, 5]], [1.0, 2, 3, 4, 5], np.arange(1, 6), np.float16([1, 2, 3, 4, 5])]
)
def test_weights_go_with_ragged_bags(weights):
    coefficients = bags_of(ROWS, per_sample_weights=weights).coefficients
    assert coefficients.tolist() == [1, 2, 3, 4, 5] and coefficients.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_of_two_dimensions_go_with_lists_of_one_length(dtype):
    weights = np.array([[1, 2], [3, 4]], dtype)
    assert bags_of([[1, 2], [0, 1]], per_sample_weights=weights).coefficients.tolist() == [1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"per_sample_weights must have input's shape, \(4,\), got \(2, 2\)"):
        bags_of([[1, 2, 3], [0]], per_sample_weights=weights)


def test_nulls_among_single_indices_are_told():
    pa = pytest.importorskip("pyarrow", reason="Arrow arrays need pyarrow")
    with pytest.raises(TypeError, match="input must hold no null among its integers, got 1"):
        bags_of(pa.array([1, None]))
    with pytest.raises(TypeError, match="input must be integers, got float64, of which 1 are null"):
        as_integers(pa.array([1, None]))


def test_weights_of_arrow():
    pa = pytest.importorskip("pyarrow", reason="Arrow arrays need pyarrow")
    weights = pa.array([[1.0, 2.0], [], [3.0, 4.0, 5.0]])
    assert bags_of(arrow("list"), per_sample_weights=weights).coefficients.tolist() == [1, 2, 3, 4, 5]


@settings(deadline=None)
@given(
    values=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-20, 20), max_size=20),
    num_embeddings=st.integers(1, 12),
    padding_idx=st.none() | st.just(0),
)
def test_policies(values, num_embeddings, padding_idx):
    array = np.array(values, np.int64)
    inside = (array >= 0) & (array < num_embeddings)
    for policy in ("clip", "pad", "hash"):
        settled, left_out = settle_invalid(array, num_embeddings, padding_idx, policy)
        np.testing.assert_array_equal(settled[inside], array[inside])
        for old, new in zip(array[~inside].tolist(), settled[~inside].tolist(), strict=True):
            expected = {
                "clip": 0 if old < 0 else num_embeddings - 1,
                "pad": -1 if padding_idx is None else padding_idx,
                "hash": int(random_u64(old, 0)) % num_embeddings,
            }[policy]
            assert new == expected
        assert left_out == (-1 if policy == "pad" and padding_idx is None else padding_idx)
    assert settle_invalid(array, num_embeddings, padding_idx, "raise")[0] is array


def test_policies_know_the_largest_integers():
    huge = np.array([2**64 - 1, 3], np.uint64)
    assert settle_invalid(huge, 10, None, "clip")[0].tolist() == [9, 3]
    assert settle_invalid(huge, 10, None, "pad")[0].tolist() == [-1, 3]
    assert settle_invalid(huge, 10, None, "hash")[0].tolist() == [int(random_u64(2**64 - 1, 0)) % 10, 3]
    for policy in ("clip", "hash"):
        with pytest.raises(ValueError, match=f"on_invalid='{policy}' needs a table with rows, got none"):
            settle_invalid(np.array([1]), 0, None, policy)
    assert settle_invalid(np.array([1]), 0, None, "pad")[0].tolist() == [-1]


def test_padding_is_counted_from_the_first_row():
    assert [padding_row(n, 10) for n in (0, 9, -1, -10, np.int8(3))] == [0, 9, 9, 0, 3]
    with pytest.raises(ValueError, match="padding_idx"):
        padding_row(0, 0)


@pytest.mark.parametrize(
    ("bags", "status", "message"),
    [
        (bags_of(np.array([[1, 2], [3, 10]])), 3, r"indices must be in \[0, 10\), got 10 at position \(1, 1\)"),
        (bags_of(np.array([1, -2]), [0]), 1, r"indices must be in \[0, 10\), got -2 at position 1"),
        (bags_of([[1], [], [2, 77]]), 2, r"indices must be in \[0, 10\), got 77 at position \(2, 1\)"),
        (bags_of([1, 2, 3], [0, 2, 1]), -3, "offsets must not fall, got 1 after 2 at position 2"),
        (bags_of([1, 2, 3], [0, 7, 1]), -2, r"offsets must be in \[0, 3\], got 7 at position 1"),
        (bags_of([1, 2, 3], [0, -7, 1]), -2, r"offsets must be in \[0, 3\], got -7 at position 1"),
    ],
)
def test_a_status_is_told_as_an_error(bags, status, message):
    with pytest.raises((IndexError, ValueError), match=message):
        raise index_error(status, bags, 10)
    with pytest.raises((IndexError, ValueError), match=message):
        check(bags, 10)


def test_check_passes_what_is_right():
    check(bags_of(ROWS), 10)
    check(bags_of([], []), 0)
    check(Bags(np.array([1, -1]), np.array([0, 2]), None, -1), 10)
    with pytest.raises(IndexError, match="got 1 at position 0"):
        check(bags_of(np.array([1]), [0]), 0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_tables_share_memory(dtype):
    weight = np.arange(12, dtype=dtype).reshape(4, 3)
    assert as_table(weight) is weight
    for shared in (weight[:, :2], weight[::2], weight[::-1], weight[:0], weight[:, :0], weight[:, 1:2]):
        table = as_table(shared)
        np.testing.assert_array_equal(table, shared)
        assert table.size == 0 or np.shares_memory(table, weight)
    for copied in (weight.T, weight[:, ::2], weight[:, ::-1]):
        table = as_table(copied)
        np.testing.assert_array_equal(table, copied)
        assert not np.shares_memory(table, weight)
        with pytest.raises(
            ValueError, match="weight is changed in place, so the numbers of a row must lie side by side"
        ):
            as_table(copied, change=True)


def test_odd_tables():
    raw = np.zeros(4 * 6 + 1, np.uint8)[1:].view(np.float32).reshape(2, 3)
    assert as_table(raw).flags.aligned
    assert type(as_table(np.zeros((2, 2)).view(np.recarray))) is np.ndarray
    for wrong in (np.zeros((2, 2), np.int64), np.zeros((2, 2), np.uint16), np.zeros((2, 2), complex), [[1, 2]], None):
        with pytest.raises(TypeError, match="weight must be float64, float32, float16 or bfloat16, got"):
            as_table(wrong)
    with pytest.raises(TypeError, match="bfloat16, got >f4"):
        as_table(np.zeros((2, 2), ">f4"))
    with pytest.raises(ValueError, match=r"weight must have 2 dimensions, got shape \(2,\)"):
        as_table(np.zeros(2))
    with pytest.raises(TypeError, match="weight is changed in place, so it must be a NumPy array, got list"):
        as_table([[1.0]], change=True)
    weight = np.zeros((2, 2))
    weight.flags.writeable = False
    assert as_table(weight) is weight
    with pytest.raises(ValueError, match="weight is changed in place, but it is read-only"):
        as_table(weight, change=True)


def test_bfloat16_is_taken_as_its_bits():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 arrays are made by ml_dtypes")
    weight = np.ones((2, 3), ml_dtypes.bfloat16)
    table = as_table(weight)
    assert table.dtype == np.uint16 and np.shares_memory(table, weight) and table[0, 0] == 0x3F80
    rows = as_rows(weight, (2, 3), table.dtype, "grad_output")
    assert rows.dtype == np.uint16
    assert as_rows(weight, (2, 3), np.dtype(np.float64), "grad_output").tolist() == [[1.0] * 3] * 2
    assert as_rows(np.ones((2, 3), np.uint16), (2, 3), table.dtype, "grad_output").dtype == np.float32
    assert accumulator(table.dtype) == np.float32


def test_outputs_are_checked():
    weight = np.zeros((4, 3), np.float32)
    good = np.zeros((2, 3), np.float32)
    assert as_output(good, (2, 3), weight.dtype, weight) is good
    read_only = good.copy()
    read_only.flags.writeable = False
    for out, error, message in [
        ([[0.0]], TypeError, "out must be a NumPy array, got list"),
        (np.zeros((2, 3)), TypeError, "out must be float32, got float64"),
        (np.zeros((3, 2), np.float32), ValueError, r"out must have shape \(2, 3\), got \(3, 2\)"),
        (read_only, ValueError, "out is read-only"),
        (weight[:2], ValueError, "out must not share memory with weight"),
    ]:
        with pytest.raises(error, match=message):
            as_output(out, (2, 3), weight.dtype, weight)
