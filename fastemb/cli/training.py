"""Training with progress, saving what there is after Ctrl-C, and saying what was written."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastemb.cli.console import Console, count, short
from fastemb.cli.progress import TrainingProgress

if TYPE_CHECKING:
    from fastemb.trainers.word2vec import Word2Vec


@dataclass(frozen=True)
class Outcome:
    """What a training run came to.

    Attributes
    ----------
    model : Word2Vec
        The model, usable also after an interruption.
    interrupted : bool
        Whether Ctrl-C ended training.
    words : int
        Raw words trained on, all epochs together.
    seconds : float
        From the start of the scan to the end of training.
    training_seconds : float
        The part of it spent in training.
    words_per_second : float
        Raw words a second of training.
    """

    model: "Word2Vec"
    interrupted: bool
    words: int
    seconds: float
    training_seconds: float
    words_per_second: float


def train_model(
    corpus: str, parameters: dict[str, Any], console: Console, continue_model: str | None = None
) -> Outcome:
    """Train a model on the file `corpus` and show progress.

    Parameters
    ----------
    corpus : str
        A path, as `Word2Vec` takes it.
    parameters : dict
        Arguments of `Word2Vec`.
    console : Console
        Where progress is shown.
    continue_model : str, optional
        File of a model to go on with; `parameters` then change some of its arguments.

    Raises
    ------
    KeyboardInterrupt
        If Ctrl-C comes before any word was trained: there is nothing to keep.
    """
    from fastemb.trainers.word2vec import Word2Vec

    progress = TrainingProgress(console)
    model = Word2Vec(**parameters) if continue_model is None else Word2Vec.load(continue_model).set_params(**parameters)
    model.set_params(callbacks=(progress,))
    learn = model.fit if continue_model is None else model.train
    start = time.perf_counter()
    interrupted = False
    with progress.shown():
        try:
            learn(corpus_file=corpus)
        except KeyboardInterrupt:
            if not progress.words_trained:
                raise
            interrupted = True
    seconds = time.perf_counter() - start
    last = progress.last["training"]
    return Outcome(model, interrupted, progress.words_trained, seconds, last.seconds, last.words_per_second)


def save(outcome: Outcome, output: str, model_file: str | None, console: Console) -> None:
    """Write the vectors, and the whole model where `model_file` is given, and report on the run."""
    model = outcome.model
    if outcome.interrupted:
        console.say("Interrupted: saving what was learned so far.")
    model.wv.save(output)
    if model_file is not None:
        model.save(model_file)
    words, size = model.wv.vectors.shape
    console.say(f"Wrote {output}: {count(words)} words, {size} dimensions")
    if model_file is not None:
        console.say(f"Wrote {model_file}: the whole model")
    console.say(
        f"Trained on {count(outcome.words)} words in {outcome.training_seconds:.1f} s,"
        f" {short(outcome.words_per_second)} words/s; {outcome.seconds:.1f} s in all"
    )
    console.result(
        {
            "output": output,
            "model": model_file,
            "words": words,
            "vector_size": size,
            "trained_words": outcome.words,
            "seconds": outcome.seconds,
            "training_seconds": outcome.training_seconds,
            "words_per_second": outcome.words_per_second,
            "losses": list(model.losses),
            "interrupted": outcome.interrupted,
        }
    )
