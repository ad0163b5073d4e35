"""Random numbers as a function of a counter, subsampling, and the alias table of negatives."""

import numpy as np
import pytest

from fastemb.engine.backend import kernels
from fastemb.engine.sampling import keep_probabilities, noise_table

reference = kernels("reference", "random").random_u64
draw_noise = kernels("reference", "windows").draw_noise


def test_random_is_splitmix64():
    """The first outputs that the generator's authors publish for seed 1234567."""
    wanted = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [int(reference(1234567, counter)) for counter in range(4)] == wanted


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("counter", [0, 1, 2**32, 2**64 - 1])
def test_cpu_random_equals_the_reference(seed, counter):
    cpu = kernels("cpu", "random").random_u64
    assert cpu(np.uint64(seed), np.uint64(counter)) == reference(seed, counter)


def test_keep_probabilities_are_word2vec_c():
    counts = np.array([5000, 3000, 1500, 400, 100])
    total, sample = counts.sum(), 0.05
    wanted = [(np.sqrt(c / (sample * total)) + 1) * (sample * total) / c for c in counts]
    np.testing.assert_allclose(keep_probabilities(counts, sample), np.minimum(1, wanted), rtol=1e-6)
    assert (keep_probabilities(counts, 0) == 1).all()


@pytest.mark.parametrize("exponent", [0.75, 0.0, 1.0, -0.5])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_noise_table_holds_the_distribution_exactly(exponent, size):
    counts = np.random.default_rng(size).integers(1, 10_000, size)
    table = noise_table(counts, exponent)
    own = (table[:, 0] + (table[:, 1] == np.arange(size))) / 2.0**32
    probability = np.bincount(np.arange(size), own, size) + np.bincount(table[:, 1], 1 - own, size)
    wanted = counts**exponent / (counts.astype(float) ** exponent).sum() * size
    np.testing.assert_allclose(probability, wanted, rtol=1e-6, atol=1e-6)


def test_draws_follow_the_noise_distribution():
    counts = np.array([60, 25, 10, 4, 1])
    drawn = np.bincount(draw_noise(noise_table(counts, 1.0), 3, 0, 20_000), minlength=5)
    np.testing.assert_allclose(drawn / 20_000, counts / 100, atol=0.012)
