"""The search for good hyper-parameters: fastText's, a random walk that starts wide and ends near the best so far."""

import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["OutOfTime", "Search", "Trial", "tuned"]

MIN_N = (0, 2, 3)
START: dict[str, Any] = {"lr": 0.1, "epochs": 5, "vector_size": 100, "word_ngrams": 1, "min_n": 0, "max_n": 0}
START_DSUB = 2
START_BUCKET = 2_000_000
_PAIR = {"min_n", "max_n"}  # they are varied together, or not at all


@dataclass(frozen=True)
class Range:
    """How a parameter is varied: by a normal deviate whose spread falls in the middle half of the search.

    A deviate is added or, with `doubles`, is the exponent of 2 by which the parameter is multiplied.
    """

    low: float
    high: float
    first_spread: float
    last_spread: float
    doubles: bool = True

    def draw(self, value: float, progress: float, random: np.random.Generator) -> float:
        """Return another value near this one."""
        fall = min(0.5, max(progress - 0.25, 0.0)) / 0.5
        deviate = random.normal(0, self.first_spread + (self.last_spread - self.first_spread) * fall)
        return min(max(value * 2**deviate if self.doubles else value + deviate, self.low), self.high)


RANGES = {
    "epochs": Range(1, 100, 2.8, 2.5),
    "lr": Range(0.01, 5.0, 1.9, 1.0),
    "vector_size": Range(1, 1000, 1.4, 0.3),
    "word_ngrams": Range(1, 5, 4.3, 2.4, doubles=False),
    "min_n": Range(0, len(MIN_N) - 1, 4.0, 1.4, doubles=False),
    "bucket": Range(10_000, 10_000_000, 2.0, 1.5),
    "dsub": Range(2, 16, 2.0, 1.0),
}


@dataclass(frozen=True)
class Trial:
    """One model that was tried.

    Attributes
    ----------
    parameters : dict
        Those that are searched.
    score : float
        NaN if training diverged, or the model could not be made as small as it should be.
    seconds : float
        That it took.
    """

    parameters: dict[str, Any]
    score: float
    seconds: float


class OutOfTime(Exception):
    """The time is up in the middle of a trial."""


class Search:
    """Proposes parameters near the best ones so far.

    Parameters
    ----------
    seed : int
    fixed : collection of str
        Parameters that are left alone.
    most_numbers : int, default 2**29
        Of a table of n-grams: more buckets are not proposed.
    quantizes : bool, default False
        Search `dsub`, of `FastTextClassifier.quantize`, too.

    Examples
    --------
    >>> search = Search(seed=1, fixed={"lr"})
    >>> search.ask(0.0) == {name: value for name, value in START.items() if name != "lr"}
    True
    """

    def __init__(
        self, seed: int, fixed: Collection[str], most_numbers: int = 1 << 29, quantizes: bool = False
    ) -> None:  # fmt: skip
        self._random = np.random.default_rng(seed)
        self._fixed = {*fixed, *(_PAIR if _PAIR & set(fixed) else ())}
        self._most_numbers = most_numbers
        self._start = {**START, "dsub": START_DSUB} if quantizes else START
        self._best: dict[str, Any] | None = None
        self._bucket = float(START_BUCKET)

    def ask(self, progress: float) -> dict[str, Any]:
        """Return the parameters of the next trial, where a part `progress` of the search is done."""
        if self._best is None:
            return {name: value for name, value in self._start.items() if name not in self._fixed}
        found = dict(self._best)
        for name in ("epochs", "lr", "vector_size", "word_ngrams"):
            if name not in self._fixed:
                value = RANGES[name].draw(found[name], progress, self._random)
                found[name] = float(f"{value:.3g}") if name == "lr" else round(value)
        if "dsub" in found:
            found["dsub"] = 1 << round(math.log2(RANGES["dsub"].draw(found["dsub"], progress, self._random)))
        if not self._fixed & _PAIR:
            place = RANGES["min_n"].draw(MIN_N.index(found["min_n"]), progress, self._random)
            found["min_n"] = MIN_N[round(place)]
            found["max_n"] = found["min_n"] + 3 if found["min_n"] else 0
        if "bucket" not in self._fixed:
            most = max(1, self._most_numbers // found.get("vector_size", START["vector_size"]))
            found["bucket"] = min(most, round(RANGES["bucket"].draw(self._bucket, progress, self._random)))
        return found

    def tell(self, best: dict[str, Any]) -> None:
        """Take what was asked for as the best so far."""
        self._best = best
        self._bucket = float(best.get("bucket", self._bucket))


def tuned(
    search: Search,
    evaluate: Callable[[dict[str, Any]], float],
    seconds: float | None,
    trials: int | None,
    told: Callable[[Trial, int], None],
) -> tuple[list[Trial], bool]:
    """Try parameters; return all trials, and whether Ctrl-C ended the search.

    Parameters
    ----------
    search : Search
    evaluate : callable
        Returns the score of parameters, NaN where there is none; raises `OutOfTime`.
    seconds, trials : optional
        When to end; one of them at least.
    told : callable
        Called with each trial and the number of the best one so far.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C before one trial has gone well.
    RuntimeError
        If there was no time for one trial, or all failed.
    """
    began = time.monotonic()
    done: list[Trial] = []
    best, interrupted = -1, False
    try:
        while trials is None or len(done) < trials:
            elapsed = time.monotonic() - began
            if seconds is not None and elapsed >= seconds:
                break
            # By the number of trials where there is one, so that the search repeats.
            progress = len(done) / trials if trials is not None else elapsed / (seconds or 1)
            parameters = search.ask(progress)
            start = time.monotonic()
            score = evaluate(parameters)
            done.append(Trial(parameters, score, time.monotonic() - start))
            if not math.isnan(score) and (best < 0 or score > done[best].score):
                best = len(done) - 1
                search.tell(parameters)
            elif best < 0:
                search.tell({**parameters, **({"lr": parameters["lr"] / 2} if "lr" in parameters else {})})
            told(done[-1], best)
    except OutOfTime:
        pass
    except KeyboardInterrupt:
        if best < 0:
            raise
        interrupted = True
    if best < 0:
        raise RuntimeError("there was no time to train once: give more seconds" if not done else "every trial failed")
    return done, interrupted
