"""Lookups, bags and updates of plain arrays take a short way: it gives what the usual way gives, or gives way to it."""

import numpy as np
import pytest

import fastemb.functional as F
from fastemb import optim
from fastemb.engine import _indices, _plain, operations
from fastemb.engine.gradients import RowGradient, gradient_of_bags
from fastemb.engine.ragged import Bags

rng = np.random.default_rng(0)
WEIGHT = rng.standard_normal((50, 20), dtype=np.float32)
INDICES = rng.integers(0, 50, 30)
OFFSETS = np.array([0, 4, 4, 29])
F.embedding_bag(INDICES, WEIGHT, OFFSETS), F.embedding(INDICES, WEIGHT)  # compile


def usual(function, *arguments, **options):
    """Call a function with an argument that keeps it from the short way and changes nothing else."""
    return function(*arguments, **options, on_invalid="clip")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ids", [np.int32, np.int64])
@pytest.mark.parametrize("mode", ["sum", "mean", "sqrtn"])
def test_short_way_agrees(dtype, ids, mode):
    weight, indices = WEIGHT.astype(dtype), INDICES.astype(ids)
    for arguments in ((indices, weight, OFFSETS), (indices.reshape(5, 6), weight)):
        wanted = usual(F.embedding_bag, *arguments, mode=mode)
        for _ in range(2):  # the first call may compile, and then goes the usual way
            np.testing.assert_array_equal(F.embedding_bag(*arguments, mode=mode), wanted)
        offsets = arguments[2] if len(arguments) == 3 else None
        assert operations.plain_reduce(weight, arguments[0], offsets, None, mode) is not None
    for shape in ((30,), (5, 6), (3, 2, 5), (1, 0)):
        wanted = usual(F.embedding, indices[: np.prod(shape)].reshape(shape), weight)
        for _ in range(2):
            np.testing.assert_array_equal(F.embedding(indices[: np.prod(shape)].reshape(shape), weight), wanted)
    assert operations.plain_lookup(weight, indices) is not None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_lookups", [30, 30_000])  # one thread, and as many as there are
def test_weights_and_sizes(dtype, num_lookups):
    weight, indices = WEIGHT.astype(dtype), np.resize(INDICES, num_lookups)
    factors = rng.standard_normal(num_lookups).astype(dtype)
    for shape, offsets in (((num_lookups,), OFFSETS), ((num_lookups // 5, 5), None)):
        for given in (None, factors.reshape(shape)):
            options = {"mode": "sum", "per_sample_weights": given}
            wanted = usual(F.embedding_bag, indices.reshape(shape), weight, offsets, **options)
            np.testing.assert_array_equal(F.embedding_bag(indices.reshape(shape), weight, offsets, **options), wanted)
            assert operations.plain_reduce(weight, indices.reshape(shape), offsets, given, "sum") is not None
    out = np.empty((num_lookups, 20), dtype)
    assert operations.plain_lookup(weight, indices, out) is out
    np.testing.assert_array_equal(out, weight[indices])


@pytest.mark.parametrize(
    "factors",
    [np.ones(30), np.ones(31, np.float32), np.ones((30, 1), np.float32), np.ones(60, np.float32)[::2], [1.0] * 30],
)
def test_other_weights_give_way(factors):
    assert operations.plain_reduce(WEIGHT, INDICES, OFFSETS, factors, "sum") is None


@pytest.mark.parametrize(
    "out",
    [np.empty((30, 20)), np.empty((29, 20), np.float32), np.empty((30, 20, 1), np.float32), WEIGHT[5:35], [[0.0]]],
)
def test_other_outputs_give_way(out):
    before = WEIGHT.copy()
    assert operations.plain_lookup(WEIGHT, INDICES, out) is None
    np.testing.assert_array_equal(WEIGHT, before)


def test_results_do_not_share_memory():
    first, second = (F.embedding_bag(INDICES, WEIGHT, OFFSETS) for _ in range(2))
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(F.embedding(INDICES, WEIGHT), WEIGHT)


READ_ONLY = WEIGHT.copy()
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("indices", "weight", "offsets"),
    [
        (INDICES.astype(np.int16), WEIGHT, OFFSETS),
        (INDICES.astype(np.uint64), WEIGHT, OFFSETS),
        (INDICES.astype(float), WEIGHT, OFFSETS),
        (INDICES.astype(">i8"), WEIGHT, OFFSETS),
        (INDICES[::2], WEIGHT, OFFSETS[:3]),
        (INDICES.tolist(), WEIGHT, OFFSETS),
        (INDICES.reshape(1, 5, 6), WEIGHT, None),
        (np.int64(3), WEIGHT, None),
        (INDICES, WEIGHT, None),
        (INDICES, WEIGHT, OFFSETS.astype(np.int32)),
        (INDICES, WEIGHT, OFFSETS + 1),
        (INDICES, WEIGHT, OFFSETS[::-1]),
        (INDICES, WEIGHT, OFFSETS[:0]),
        (INDICES, WEIGHT, np.array([0, 31])),
        (np.where(np.arange(30) == 3, 50, INDICES), WEIGHT, OFFSETS),
        (np.where(np.arange(30) == 3, -1, INDICES), WEIGHT, OFFSETS),
        (INDICES, WEIGHT.astype(np.float16), OFFSETS),
        (INDICES, WEIGHT.astype(">f4"), OFFSETS),
        (INDICES, WEIGHT[:, ::2], OFFSETS),
        (INDICES, WEIGHT[0], OFFSETS),
        (INDICES, READ_ONLY, OFFSETS),
        (INDICES, WEIGHT.tolist(), OFFSETS),
        (INDICES, np.ma.masked_array(WEIGHT), OFFSETS),
        (None, None, None),
    ],
)
def test_anything_else_gives_way(indices, weight, offsets):
    assert operations.plain_reduce(weight, indices, offsets, None, "sum") is None


def test_no_rows_and_no_columns():
    none = np.zeros(0, np.int64)
    assert F.embedding(none, WEIGHT).shape == (0, 20)
    assert F.embedding_bag(none, WEIGHT, np.zeros(2, np.int64)).tolist() == [[0.0] * 20] * 2
    assert F.embedding_bag(INDICES, WEIGHT[:, :0].copy(), OFFSETS).shape == (4, 0)
    with pytest.raises(IndexError, match=r"\[0, 0\), got"):
        F.embedding_bag(INDICES, WEIGHT[:0].copy(), OFFSETS)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_passes_over_integers_find_the_first_fault(dtype):
    assert (
        _indices.misplaced(np.array([1, 3, 3, 2], dtype), 4) == 2 and _indices.misplaced(np.array([], dtype), 0) == -1
    )
    assert _indices.misplaced(np.array([-1, 3], dtype), 4) == 0 and _indices.misplaced(np.array([1, 4], dtype), 4) == 1
    assert _indices.outside(np.array([2, -1, 3], dtype), 3, -1) == 2
    assert _indices.outside(np.array([-2], dtype), 3, -2) == 0  # -2 stands for none, whatever the indices
    assert _indices.outside(np.array([0], dtype), 0, -2) == 0
    with pytest.raises(TypeError, match="must be contiguous"):
        _indices.misplaced(np.array([1, 2, 3, 4], dtype)[::2], 5)


def test_bags_of_lookups_writes_no_further_than_its_array():
    assert _indices.bags_of_lookups(np.array([0, 2, 2, 3])).tolist() == [0, 0, 2]
    assert len(_indices.bags_of_lookups(np.array([0, 50, 3]))) == 3
    assert _indices.bad_bag(np.array([0, 2, 1]), 2) == 1 and _indices.bad_bag(np.array([0, 3, 3]), 2) == 0


class Parameter:
    def __init__(self):
        self.weight, self.grad = WEIGHT.copy(), None


def stepped(optimizer):
    """The table after two updates of an optimizer, and what it remembers."""
    parameter = Parameter()
    for n in range(2):
        bags = Bags((INDICES + n) % 50, np.append(OFFSETS, len(INDICES)))
        optimizer.update(parameter, gradient_of_bags(WEIGHT[:4] + n, bags, 50, "mean"))
    return [parameter.weight, *optimizer.state_of(parameter).values()]


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_small_updates_are_those_of_the_usual_way(name, monkeypatch):
    plain = stepped(getattr(optim, name)(lr=0.1, weight_decay=0.01))
    with monkeypatch.context() as patch:
        patch.setattr("fastemb.engine._plain.step", lambda *arguments: None)
        usual = stepped(getattr(optim, name)(lr=0.1, weight_decay=0.01))
    for found, expected in zip(plain, usual, strict=True):
        np.testing.assert_array_equal(found, expected)


def gradient(**changed):
    given = {
        "rows": np.array([1, 3]), "values": None, "grad_output": WEIGHT[:2].copy(), "sources": np.array([0, 1, 1]),
        "starts": np.array([0, 1, 3]), "coefficients": None,
    }  # fmt: skip
    return RowGradient(**{**given, **changed})


def test_what_fits_a_plain_table():
    assert _plain.fits(gradient(), WEIGHT) and _plain.fits(gradient(coefficients=np.ones(3, np.float32)), WEIGHT)
    for changed in (
        {"rows": np.array([3, 1])}, {"rows": np.array([1, 50])}, {"rows": np.array([-1, 3])}, {"rows": [1, 3]},
        {"grad_output": WEIGHT[:2].astype(np.float64)}, {"grad_output": WEIGHT[:2, :8].copy()},
        {"starts": np.array([0, 3])}, {"coefficients": np.ones(2, np.float32)}, {"values": WEIGHT[:2]},
        {"grad_output": None},
    ):  # fmt: skip
        assert not _plain.fits(gradient(**changed), WEIGHT)
    assert not _plain.fits(gradient(), WEIGHT[:, ::2])


def test_lookups_of_a_gradient_that_has_no_such_row_are_an_error():
    with pytest.raises(ValueError, match="do not fit its grad_output"):
        optim.SGD(lr=0.1).update(Parameter(), gradient(sources=np.array([0, 1, 2])))
