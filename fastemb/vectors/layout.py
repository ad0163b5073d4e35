"""Places in the plane for some vectors: t-SNE, and boxes pushed apart until none lies on another."""

import numpy as np

from fastemb.vectors.search import units

_ITERATIONS = 600
_EARLY = 150
_EXAGGERATION = 8.0
_ROWS = 64


def tsne(vectors: np.ndarray, perplexity: float = 12.0) -> np.ndarray:
    """Return places in the plane where each vector is near its neighbours by angle.

    This is t-SNE (van der Maaten and Hinton, 2008), exact, from the principal components on, so that it is the same
    every time. Time and memory grow with the square of the number of vectors: half a second for 300, a few for 1000.

    Parameters
    ----------
    vectors : float array of shape (num_points, vector_size)
    perplexity : float
        About how many neighbours a point keeps near.

    Returns
    -------
    float64 array of shape (num_points, 2)

    Examples
    --------
    >>> places = tsne(np.eye(3))
    >>> places.shape
    (3, 2)
    """
    rows = units(np.asarray(vectors, np.float64))
    num_points = len(rows)
    if num_points < 4:
        return np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.8]])[:num_points]
    attraction = _affinities(rows, min(perplexity, (num_points - 1) / 3)).astype(np.float32)
    places = (_principal(rows) * 1e-4).astype(np.float32)
    velocity = np.zeros_like(places)
    gains = np.ones_like(places)
    # 50 is usual, and too much for a few points, which it throws further apart at each step.
    rate = max(num_points / _EXAGGERATION, min(50.0, num_points / 2))
    attraction *= _EXAGGERATION
    for step in range(_ITERATIONS):
        if step == _EARLY:
            attraction /= _EXAGGERATION
        gradient = _gradient(places, attraction)
        same = np.sign(gradient) == np.sign(velocity)
        gains = np.maximum(np.where(same, gains * 0.8, gains + 0.2), 0.01).astype(np.float32)
        velocity = (0.5 if step < _EARLY else 0.8) * velocity - rate * gains * gradient
        places = places + velocity
        places -= places.mean(axis=0)
    return places.astype(np.float64)


def _principal(rows: np.ndarray) -> np.ndarray:
    """Return the first two principal components, scaled to variance one, with signs that do not depend on LAPACK."""
    centred = rows - rows.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    places = centred @ axes[:, :-3:-1] if rows.shape[1] > 1 else np.column_stack([centred, 0 * centred])
    places /= np.maximum(places.std(axis=0), 1e-12)
    places *= np.where(places[np.abs(places).argmax(axis=0), [0, 1]] < 0, -1, 1)
    # Equal vectors would stay on one place for ever.
    return places + np.random.default_rng(0).normal(0, 1e-3, places.shape)


def _affinities(rows: np.ndarray, perplexity: float) -> np.ndarray:
    """Return how strongly each pair is drawn together: symmetric, summing to one."""
    distances = np.maximum(2 - 2 * rows @ rows.T, 0)
    np.fill_diagonal(distances, np.inf)
    distances -= distances.min(axis=1, keepdims=True)
    low, high = np.zeros(len(rows)), np.full(len(rows), np.inf)
    beta = np.ones(len(rows))
    for _ in range(50):
        weights = np.exp(-distances * beta[:, None])
        shares = weights / weights.sum(axis=1, keepdims=True)
        entropy = -np.sum(shares * np.log(np.maximum(shares, 1e-300)), axis=1)
        too_wide = entropy > np.log(perplexity)
        low, high = np.where(too_wide, beta, low), np.where(too_wide, high, beta)
        beta = np.where(np.isinf(high), np.minimum(beta * 2, 1e6), (low + np.minimum(high, 1e6)) / 2)
    shares = (shares + shares.T) / (2 * len(rows))
    return np.maximum(shares, 1e-12)


def _gradient(places: np.ndarray, attraction: np.ndarray) -> np.ndarray:
    """Return the gradient of t-SNE's loss, a block of rows at a time so that the tables stay in the cache."""
    squares = np.sum(places**2, axis=1)
    with_ones = np.column_stack([places, np.ones_like(squares)])
    pull, push, total = np.zeros_like(with_ones), np.zeros_like(with_ones), 0.0
    for start in range(0, len(places), _ROWS):
        rows = slice(start, start + _ROWS)
        nearness = places[rows] @ (-2 * places.T)
        nearness += squares
        nearness += squares[rows, None] + 1
        np.maximum(nearness, 1, out=nearness)
        np.reciprocal(nearness, out=nearness)
        total += float(nearness.sum())
        pull[rows] = (attraction[rows] * nearness) @ with_ones
        nearness *= nearness
        push[rows] = nearness @ with_ones
    # The last column is the sum of the weights; a point's own weight adds nothing to the difference.
    force = pull - push / np.float32(total - len(places))
    return 4 * (force[:, 2:] * places - force[:, :2])


def spread(places: np.ndarray) -> np.ndarray:
    """Return places in the unit square, stretched where it is crowded and squeezed where it is empty.

    Each coordinate is the mean of itself, scaled to [0, 1], and of its rank.

    Examples
    --------
    >>> spread(np.array([[0.0, 0.0], [1.0, 4.0], [10.0, 5.0]])).tolist()
    [[0.0, 0.0], [0.3, 0.65], [1.0, 1.0]]
    """
    low = places.min(axis=0)
    scaled = (places - low) / np.maximum(places.max(axis=0) - low, 1e-12)
    ranks = places.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable") / max(1, len(places) - 1)
    return (scaled + ranks) / 2


def push_apart(
    centres: np.ndarray, sizes: np.ndarray, area: tuple[float, float], iterations: int = 300
) -> tuple[np.ndarray, bool]:
    """Move boxes as little as needed until none lies on another and all are in the area.

    Parameters
    ----------
    centres : float array of shape (num_boxes, 2)
    sizes : float array of shape (num_boxes, 2)
        Width and height of each box.
    area : (float, float)
        The boxes must be inside ``[0, width] x [0, height]``.
    iterations : int
        How often to try.

    Returns
    -------
    centres : float64 array of shape (num_boxes, 2)
    fits : bool
        Whether no box lies on another.

    Examples
    --------
    >>> centres, fits = push_apart(np.array([[2.0, 2.0], [2.5, 2.1]]), np.ones((2, 2)), (4, 4))
    >>> centres.round(2).tolist(), fits
    ([[1.5, 2.0], [3.0, 2.1]], True)
    """
    places = np.array(centres, np.float64)
    # Different numbers everywhere, so that boxes on one spot part.
    places += np.random.default_rng(0).normal(0, 1e-6, places.shape) * sizes
    low, high = sizes / 2, np.maximum(np.array(area) - sizes / 2, sizes / 2)
    for _ in range(iterations):
        places = np.clip(places, low, high)
        first, second = _touching(places, sizes)
        if not len(first):
            return places, True
        apart = places[first] - places[second]
        overlap = (sizes[first] + sizes[second]) / 2 - np.abs(apart)
        axis = (overlap[:, 1] <= overlap[:, 0]).astype(np.int64)
        pair = np.arange(len(first))
        # Each goes the whole way: with half of it crowds dissolve ten times more slowly. Less where many push.
        push = np.where(apart[pair, axis] < 0, -1, 1) * overlap[pair, axis]
        moves, pushes = np.zeros_like(places), np.zeros_like(places)
        for box, sign in ((first, 1), (second, -1)):
            np.add.at(moves, (box, axis), sign * push)
            np.add.at(pushes, (box, axis), 1)
        places += moves / np.maximum(np.sqrt(pushes), 1)
    return np.clip(places, low, high), False


def _touching(places: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of boxes that overlap, as two arrays of box numbers."""
    order = places[:, 1].argsort(kind="stable")
    (x, y), (width, height) = places[order].T, sizes[order].T * (1 - 1e-5)
    none = np.zeros(0, np.int64)
    first, second = [none], [none]
    # Boxes that overlap are near each other in the order from bottom to top.
    for step in range(1, len(places)):
        above = y[step:] - y[:-step]
        if above.min() >= height.max():
            break
        near = above < (height[step:] + height[:-step]) / 2
        near &= np.abs(x[step:] - x[:-step]) < (width[step:] + width[:-step]) / 2
        found = np.flatnonzero(near)
        first.append(order[found])
        second.append(order[found + step])
    return np.concatenate(first), np.concatenate(second)
