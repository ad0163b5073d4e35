"""Word vectors trained on a GPU, beside the CPU's: words a second, and quality on the same text."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastemb import Word2Vec
from fastemb.bench.quality import NAMES, RESTRICT, find_sets
from fastemb.vectors.keyed_vectors import KeyedVectors

MODELS: dict[str, dict[str, Any]] = {"skip-gram": {"sg": 1}, "CBOW": {"sg": 0}}


class _Clock:
    """Sums the time of epochs, tables' way to the GPU and back included, but not reading and compiling."""

    def __init__(self) -> None:
        self.seconds, self._began = 0.0, 0.0

    def on_epoch_begin(self, model: Word2Vec) -> None:
        """Start."""
        self._began = time.perf_counter()

    def on_epoch_end(self, model: Word2Vec) -> None:
        """Stop."""
        self.seconds += time.perf_counter() - self._began


def compare(
    text: str | Path,
    *,
    devices: Sequence[str] = ("cpu", "cuda"),
    models: Sequence[str] = tuple(MODELS),
    vector_size: int = 128,
    epochs: int = 1,
    rounds: int = 3,
    analogies: Path | None = None,
    pairs: Sequence[Path] | None = None,
    log: Callable[[str], None] = print,
    **options: Any,
) -> list[dict[str, Any]]:
    r"""Train on each device in turn, each round with a seed of its own.

    Parameters
    ----------
    text
        A file, one sentence a line.
    devices
        Of ``"cpu"`` and ``"cuda"``.
    models
        Of ``"skip-gram"`` and ``"CBOW"``.
    vector_size, epochs
        As the trainers' arguments; window and negative are 5 where `options` does not say otherwise.
    rounds
        Each with another seed.
    analogies, pairs
        Evaluation sets. By default those in the folder ``eval`` of the folder that FASTEMB_DATA names, if that is set.
    log
        Called with a line about each run.
    **options
        Other arguments of `Word2Vec`.

    Returns
    -------
    list of dict
        A row for each model and device: ``model``, ``device``, the median of ``words_per_second``, and the means over
        rounds of ``loss`` and ``scores``.

    Raises
    ------
    ImportError, RuntimeError
        If no GPU can be used.
    ValueError
        If vectors are not finite.

    Examples
    --------
    >>> import tempfile
    >>> from fastemb.bench.gpu_training import compare
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = Path(folder, "text.txt")
    ...     _ = text.write_text("a b c d\n" * 50)
    ...     rows = compare(text, devices=["cpu"], models=["CBOW"], vector_size=4, rounds=1, pairs=[], sample=0, log=len)
    >>> rows[0]["device"], rows[0]["words_per_second"] > 0
    ('cpu', True)
    """
    if analogies is None and pairs is None:
        analogies, pairs = find_sets()
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for seed in range(1, rounds + 1):
        for model in models:
            for device in devices:
                arguments = {"vector_size": vector_size, "epochs": epochs, "seed": seed, **MODELS[model], **options}
                found = _run(text, {**arguments, "device": device}, analogies, pairs or ())
                runs.setdefault((model, device), []).append(found)
                log(f"{model} on {device}: {found['words_per_second'] / 1e6:.2f} M words/s, {found['scores']}")
    return [
        {
            "model": model,
            "device": device,
            "words_per_second": statistics.median(run["words_per_second"] for run in found),
            "loss": statistics.fmean(run["loss"] for run in found),
            "scores": {name: statistics.fmean(run["scores"][name] for run in found) for name in found[0]["scores"]},
        }
        for (model, device), found in runs.items()
    ]


def _run(text: str | Path, arguments: dict[str, Any], analogies: Path | None, pairs: Sequence[Path]) -> dict[str, Any]:
    clock = _Clock()
    model = Word2Vec(corpus_file=text, callbacks=[clock], **arguments)
    if not np.isfinite(model.wv.vectors).all():
        raise ValueError(f"vectors must be finite, and are not with {arguments}")
    words = model.corpus_total_words * model.epochs
    return {
        "words_per_second": words / clock.seconds,
        "loss": model.losses[-1],
        "scores": _scores(model.wv, analogies, pairs),
    }


def _scores(vectors: KeyedVectors, analogies: Path | None, pairs: Sequence[Path]) -> dict[str, float]:
    """Return Spearman's correlation times 100 for each file of pairs, and percent right for analogies."""
    scores = {NAMES[file.stem]: 100 * float(vectors.evaluate_word_pairs(file)[1][0]) for file in pairs}
    if analogies is not None:
        scores[NAMES[analogies.stem]] = 100 * vectors.evaluate_word_analogies(analogies, RESTRICT)[0]
    return scores
