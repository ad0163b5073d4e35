"""What functional refuses, and arrays that are odd but right: read-only, strided, empty, larger than 2**31 elements."""

import numpy as np
import pytest

import fastemb.functional as F
from fastemb.engine.gradients import RowGradient

WEIGHT = np.arange(20.0).reshape(10, 2)
GRAD = np.ones((2, 2))


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("index", [10, -1, -(2**40), 2**40])
@pytest.mark.parametrize("place", [0, 3, 5])
def test_an_index_outside_the_table_is_told_with_its_place(index, place):
    input = np.arange(6)
    input[place] = index
    matrix = input.reshape(2, 3)
    position = f"({place // 3}, {place % 3})"
    told = f"indices must be in [0, 10), got {index} at position "
    grad = np.ones((2, 3, 2))
    calls = [
        (position, lambda: F.embedding(matrix, WEIGHT)),
        (position, lambda: F.embedding_backward(grad, matrix, WEIGHT)),
        (position, lambda: F.embedding_renorm_(WEIGHT.copy(), matrix, 1.0)),
        (position, lambda: F.scatter_add(WEIGHT.copy(), matrix, grad)),
        (position, lambda: F.scatter_add_backward(WEIGHT, matrix)),
        (position, lambda: F.embedding_bag(matrix.tolist(), WEIGHT)),
        (position, lambda: F.embedding_bag(matrix, WEIGHT.copy(), max_norm=1.0)),
        (place, lambda: F.embedding(input, WEIGHT)),
        (place, lambda: F.embedding_bag(input, WEIGHT, [0, 2, 2])),
        (place, lambda: F.embedding_bag_backward(np.ones((3, 2)), input, WEIGHT, [0, 2, 2])),
    ]
    for mode in ("sum", "mean", "sqrtn", "max", "min"):
        calls.append((position, lambda mode=mode: F.embedding_bag(matrix, WEIGHT, mode=mode)))
        calls.append(
            (position, lambda mode=mode: F.embedding_bag_backward(GRAD, matrix, WEIGHT, mode=mode, sparse=True))
        )
    calls.append((position, lambda: F.per_sample_weights_backward(GRAD, matrix, WEIGHT)))
    for where, call in calls:
        with pytest.raises(IndexError) as error:
            call()
        assert str(error.value) == f"{told}{where}"
    if index < 0:
        with pytest.raises(IndexError) as error:
            F.one_hot(matrix)
        assert str(error.value).endswith(f"got {index} at position {position}")
    with pytest.raises(IndexError, match=r"indices must be in \[0, 10\), got"):
        F.one_hot(matrix, 10)


OFFSETS = [
    ([0, 2, 1], {}, "offsets must not fall, got 1 after 2 at position 2"),
    ([0, 9, 3], {}, r"offsets must be in \[0, 4\], got 9 at position 1"),
    ([0, 5], {}, r"offsets must be in \[0, 4\], got 5 at position 1"),
    ([0, -2, 3], {}, r"offsets must be in \[0, 4\], got -2 at position 1"),
    ([1, 2], {}, "offsets must start at 0, got 1"),
    ([0, 3, 1, 4], {"include_last_offset": True}, "offsets must not fall, got 1 after 3 at position 2"),
    ([0, 3], {"include_last_offset": True}, "offsets must end with the number of lookups, 4, got 3"),
    ([0, 5], {"include_last_offset": True}, "offsets must end with the number of lookups, 4, got 5"),
]


@pytest.mark.parametrize(("offsets", "options", "message"), OFFSETS)
@pytest.mark.parametrize("mode", ["sum", "max"])
def test_offsets_that_are_wrong(offsets, options, message, mode):
    input, options = np.array([1, 2, 3, 4]), {**options, "mode": mode}
    grad = np.ones((len(offsets) - options.get("include_last_offset", False), 2))
    for given in (offsets, np.array(offsets), np.array(offsets, np.int32)):
        with pytest.raises(ValueError, match=message):
            F.embedding_bag(input, WEIGHT, given, **options)
        with pytest.raises(ValueError, match=message):
            F.embedding_bag_backward(grad, input, WEIGHT, given, **options)
        with pytest.raises(ValueError, match=message):
            F.embedding_bag(input, WEIGHT.copy(), given, max_norm=1.0, **options)
    if mode == "sum":
        with pytest.raises(ValueError, match=message):
            F.per_sample_weights_backward(grad, input, WEIGHT, offsets, **options)


MATRIX = np.array([[1, 2], [3, 4]])
ERRORS = [
    (lambda: F.embedding([1.0], WEIGHT), TypeError, "input must be integers, got float64"),
    (lambda: F.embedding([True], WEIGHT), TypeError, "input must be integers, got bool"),
    (lambda: F.embedding([[1], [2, 3]], WEIGHT), ValueError, "input must be rectangular"),
    (
        lambda: F.embedding([1], WEIGHT.astype(int)),
        TypeError,
        "weight must be float64, float32, float16 or bfloat16, got int64",
    ),
    (lambda: F.embedding([1], WEIGHT[0]), ValueError, r"weight must have 2 dimensions, got shape \(2,\)"),
    (lambda: F.embedding([1], WEIGHT, 10), ValueError, r"padding_idx must be an integer in \[-10, 9\], got 10"),
    (lambda: F.embedding([1], WEIGHT, -11), ValueError, r"padding_idx must be an integer in \[-10, 9\], got -11"),
    (lambda: F.embedding([1], WEIGHT, 1.5), TypeError, r"padding_idx must be an integer in \[-10, 9\], got 1.5"),
    (lambda: F.embedding([1], WEIGHT, on_invalid="wrap"), ValueError, "on_invalid must be one of 'raise', 'clip'"),
    (
        lambda: F.embedding([1], read_only(WEIGHT), max_norm=1.0),
        ValueError,
        "weight is changed in place, but it is read-only",
    ),
    (
        lambda: F.embedding([1], WEIGHT.tolist(), max_norm=1.0),
        TypeError,
        "weight is changed in place, so it must be a NumPy",
    ),
    (
        lambda: F.embedding([1], WEIGHT.T, max_norm=1.0),
        ValueError,
        "weight is changed in place, so the numbers of a row",
    ),
    (lambda: F.embedding([1], WEIGHT.copy(), max_norm=-1.0), ValueError, "max_norm must be a number >= 0, got -1.0"),
    (lambda: F.embedding([1], WEIGHT.copy(), max_norm=np.nan), ValueError, "max_norm must be a number >= 0, got nan"),
    (lambda: F.embedding([1], WEIGHT.copy(), max_norm="1"), TypeError, "max_norm must be a number, got '1'"),
    (lambda: F.embedding([1], WEIGHT.copy(), None, 1.0, None), TypeError, "norm_type must be a number, got None"),
    (lambda: F.embedding([1], WEIGHT.copy(), None, 1.0, np.nan), ValueError, "norm_type must be a number, got nan"),
    (lambda: F.embedding([1], WEIGHT, out=np.zeros((2, 2))), ValueError, r"out must have shape \(1, 2\), got \(2, 2\)"),
    (lambda: F.embedding([1], WEIGHT, out=np.zeros((1, 2), np.float32)), TypeError, "out must be float64, got float32"),
    (lambda: F.embedding([1], WEIGHT, out=[[0, 0]]), TypeError, "out must be a NumPy array, got list"),
    (lambda: F.embedding([1], WEIGHT, out=read_only(np.zeros((1, 2)))), ValueError, "out is read-only"),
    (lambda: F.embedding([1], WEIGHT, out=WEIGHT[:1]), ValueError, "out must not share memory with weight"),
    (
        lambda: F.embedding_backward(np.ones((2, 2)), [1], WEIGHT),
        ValueError,
        r"grad_output must have shape \(1, 2\), got \(2, 2\)",
    ),
    (lambda: F.embedding_backward([["a", "b"]], [1], WEIGHT), TypeError, "grad_output must be floats, got <U1"),
    (
        lambda: F.embedding_backward(GRAD[:1], [1], WEIGHT, sparse=True, out=WEIGHT),
        ValueError,
        "out is for dense gradients",
    ),
    (lambda: F.embedding_bag(MATRIX, WEIGHT, [0]), ValueError, "offsets go with an input of one dimension"),
    (lambda: F.embedding_bag(MATRIX[0], WEIGHT), ValueError, "an input of 1 dimension needs offsets, got None"),
    (
        lambda: F.embedding_bag(MATRIX, WEIGHT, mode="median"),
        ValueError,
        "mode must be one of 'sum', 'mean', 'sqrtn', 'max', 'min'",
    ),
    (
        lambda: F.embedding_bag(MATRIX, WEIGHT, mode="max", per_sample_weights=np.ones((2, 2))),
        ValueError,
        "per_sample_weights must be None in mode 'max'",
    ),
    (
        lambda: F.embedding_bag(MATRIX, WEIGHT, per_sample_weights=np.ones(4)),
        ValueError,
        "per_sample_weights must have input's shape",
    ),
    (
        lambda: F.embedding_bag(MATRIX, WEIGHT, per_sample_weights=np.ones((2, 2), bool)),
        TypeError,
        "per_sample_weights must be floats, got bool",
    ),
    (
        lambda: F.embedding_bag(MATRIX, WEIGHT, padding_idx=10),
        ValueError,
        r"padding_idx must be an integer in \[-10, 9\], got 10",
    ),
    (
        lambda: F.embedding_bag(MATRIX, read_only(WEIGHT), max_norm=1.0),
        ValueError,
        "weight is changed in place, but it is read-only",
    ),
    (
        lambda: F.embedding_bag(MATRIX, WEIGHT, out=np.zeros((1, 2))),
        ValueError,
        r"out must have shape \(2, 2\), got \(1, 2\)",
    ),
    (
        lambda: F.embedding_bag_backward(GRAD[:1], MATRIX, WEIGHT),
        ValueError,
        r"grad_output must have shape \(2, 2\), got \(1, 2\)",
    ),
    (lambda: F.embedding_bag_backward(GRAD, MATRIX, WEIGHT, mode="median"), ValueError, "mode must be one of"),
    (
        lambda: F.per_sample_weights_backward(GRAD, MATRIX, WEIGHT, mode="max"),
        ValueError,
        "mode must be one of 'sum', 'mean', 'sqrtn'",
    ),
    (
        lambda: F.embedding_renorm_(read_only(WEIGHT), [1], 1.0),
        ValueError,
        "weight is changed in place, but it is read-only",
    ),
    (
        lambda: F.scatter_add(read_only(WEIGHT), [1], GRAD[:1]),
        ValueError,
        "weight is changed in place, but it is read-only",
    ),
    (lambda: F.scatter_add(WEIGHT, [1], GRAD), ValueError, r"source must have shape \(1, 2\), got \(2, 2\)"),
    (lambda: F.scatter_add(WEIGHT, [1.5], GRAD[:1]), TypeError, "indices must be integers, got float64"),
    (lambda: F.scatter_add(WEIGHT, [1], GRAD[:1], alpha=np.nan), ValueError, "alpha must be a finite number"),
    (
        lambda: F.scatter_add_backward(WEIGHT[0], [1]),
        ValueError,
        r"grad_output must have 2 dimensions, got shape \(2,\)",
    ),
    (lambda: F.one_hot([]), ValueError, "num_classes must be given for an empty input, got -1"),
    (lambda: F.one_hot([1.0]), TypeError, "input must be integers, got float64"),
    (lambda: F.one_hot([1], -2), ValueError, "num_classes must be an integer >= -1, got -2"),
    (lambda: F.one_hot([1], 2, out=np.zeros((1, 2))), TypeError, "out must be int64, got float64"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS, ids=range(len(ERRORS)))
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("mode", ["sum", "mean", "sqrtn", "max", "min"])
def test_odd_arrays_are_right(mode):
    table = np.random.default_rng(0).standard_normal((10, 6))
    matrix = np.array([[1, 2, 9], [3, 4, 0]])
    for weight in (
        table[:, ::2],
        table[::-1],
        table.T.copy().T,
        read_only(table),
        table[::2, 1:],
        np.asfortranarray(table),
    ):
        size = len(weight)
        wanted = F.embedding_bag(matrix % size, np.ascontiguousarray(weight), mode=mode)
        for input in (
            matrix % size,
            read_only(matrix % size),
            np.asfortranarray(matrix % size),
            np.repeat(matrix % size, 2, 1)[:, ::2],
        ):
            np.testing.assert_array_equal(F.embedding_bag(input, weight, mode=mode), wanted)
            np.testing.assert_array_equal(F.embedding(input, weight), weight[input])
    one_row = np.broadcast_to(table[:1], (10, 6))
    np.testing.assert_array_equal(F.embedding_bag(matrix, one_row, mode="max"), one_row[:2])


def test_subclasses_and_scalars(tmp_path):
    mapped = np.memmap(tmp_path / "table", np.float32, "w+", shape=(4, 2))
    mapped[:] = np.arange(8).reshape(4, 2)
    assert type(F.embedding([3], mapped)) is np.ndarray
    F.embedding_renorm_(mapped, [3], 1.0)
    assert np.linalg.norm(mapped[3]) == pytest.approx(1)
    np.testing.assert_array_equal(F.embedding(3, WEIGHT), WEIGHT[3])
    np.testing.assert_array_equal(F.embedding(np.uint8(3), WEIGHT), WEIGHT[3])


@pytest.mark.parametrize("shape", [(0, 3), (5, 0), (0, 0)])
def test_empty_tables(shape):
    weight = np.zeros(shape, np.float32)
    nothing = np.zeros((0,), int)
    assert F.embedding(nothing, weight).shape == (0, shape[1])
    assert F.embedding(nothing.reshape(0, 2), weight).shape == (0, 2, shape[1])
    assert F.embedding_bag(nothing, weight, [0, 0]).tolist() == [[0.0] * shape[1]] * 2
    assert F.embedding_bag(nothing, weight, [0], mode="max").shape == (1, shape[1])
    assert F.embedding_backward(np.zeros((0, shape[1])), nothing, weight).shape == shape
    rows, values = F.embedding_bag_backward(np.zeros((1, shape[1])), [[]], weight, sparse=True)
    assert rows.shape == (0,) and values.shape == (0, shape[1])
    assert F.scatter_add(weight, nothing, np.zeros((0, shape[1]))) is weight
    if shape[0]:
        assert F.embedding([1, 2], weight).shape == (2, 0)
        assert F.embedding_bag([[1], [2]], weight, mode="max").shape == (2, 0)
        F.embedding_renorm_(weight, [1], 1.0)
    for call in (F.embedding, F.embedding_bag):
        with pytest.raises(IndexError, match=rf"indices must be in \[0, {shape[0]}\), got 7 at position \(0, 0\)"):
            call([[7]], weight)


def test_a_table_of_more_than_two_to_the_31_elements():
    num_embeddings, dim = 2**25 + 3, 64  # float16: 4.3 GB, of which the few pages that are touched cost memory
    try:
        weight = np.zeros((num_embeddings, dim), np.float16)
    except MemoryError:
        pytest.skip("no address space for 4.3 GB")
    last = num_embeddings - 1
    weight[last], weight[2**24] = 3, 5
    assert weight.size > 2**31
    np.testing.assert_array_equal(F.embedding([last, 0, 2**24], weight)[:, 0], [3, 0, 5])
    assert (F.embedding_bag([[last, 2**24]], weight, mode="sum") == 8).all()
    assert (F.embedding_bag(np.array([[last, 2**24]], np.int32), weight, mode="max") == 5).all()
    rows, values = F.embedding_bag_backward(np.ones((1, dim)), [[last, 7, last]], weight, mode="sum", sparse=True)
    assert rows.tolist() == [7, last] and values[:, 0].tolist() == [1, 2]
    F.scatter_add(weight, [last], np.ones((1, dim)))
    F.embedding_renorm_(weight, [last, 1], 8.0)
    np.testing.assert_allclose(weight[last], 1, rtol=1e-3)
    with pytest.raises(IndexError, match=f"got {num_embeddings} at position 1"):
        F.embedding([last, num_embeddings], weight)


@pytest.mark.parametrize("rows", [[2, 10], [-1, 2], [10**9, 2], [2, 2]])
def test_a_gradient_of_rows_that_a_table_has_not(rows):
    gradient = RowGradient(np.array(rows), np.ones((2, 2)))
    with pytest.raises(ValueError, match="a gradient's rows must be"):
        gradient.to_dense(10)
    with pytest.raises(ValueError, match="a gradient's rows must be"):
        gradient.add_to(np.zeros((10, 2)))


def test_a_gradient_of_other_columns_than_the_table():
    for gradient in (RowGradient(np.array([1]), np.ones((1, 2))), RowGradient(np.array([1]), np.ones((2, 3)))):
        with pytest.raises(ValueError, match=r"a gradient's values must be of shape \(1, 3\), got"):
            gradient.add_to(np.zeros((10, 3)))


def test_out_is_not_the_gradient_that_comes_in():
    grad, input = np.ones((10, 2)), np.zeros(10, int)
    with pytest.raises(ValueError, match="out must not share memory with grad_output"):
        F.embedding_backward(grad, input, WEIGHT, out=grad)
    with pytest.raises(ValueError, match="out must not share memory with grad_output"):
        F.embedding_bag_backward(grad, input[:, None], WEIGHT, out=grad)


def test_indices_of_more_bits_than_a_table_has_rows():
    with pytest.raises(ValueError, match=r"input must be below 2\*\*63, got 9223372036854775809 at position \(1, 0\)"):
        F.embedding(np.array([[1], [2**63 + 1]], np.uint64), np.ones((3, 2)))
    for policy in ("raise", "clip", "hash"):
        with pytest.raises(ValueError, match=rf"input must have at most 64 bits, got {2**70}"):
            F.embedding([1, 2**70], np.ones((3, 2)), on_invalid=policy)


def test_offsets_beside_a_tuple_of_values_and_offsets():
    with pytest.raises(ValueError, match="offsets must be None where input is a tuple of values and offsets"):
        F.embedding_bag(([0, 1, 2], [0, 3]), np.ones((3, 2)), [0])
    np.testing.assert_array_equal(F.embedding_bag((0, 1), np.ones((3, 2)), [0], mode="sum"), [[2, 2]])
