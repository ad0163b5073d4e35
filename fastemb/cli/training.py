"""Training with progress, saving what there is after Ctrl-C, and saying what was written."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastemb.cli.console import Console, count, short
from fastemb.cli.progress import TrainingProgress

if TYPE_CHECKING:
    from fastemb.trainers.glove import GloVe
    from fastemb.trainers.word2vec import Word2Vec


@dataclass(frozen=True)
class Outcome:
    """What a training run came to.

    Attributes
    ----------
    model : Word2Vec or GloVe
        The model, usable also after an interruption.
    interrupted : bool
        Whether Ctrl-C ended training.
    words : int
        What was trained on, all epochs together: raw words, or pairs of words.
    seconds : float
        From the start of the scan to the end of training.
    training_seconds : float
        The part of it spent in training.
    words_per_second : float
        The same, a second of training.
    unit : str
        "words" or "pairs".
    """

    model: "Word2Vec | GloVe"
    interrupted: bool
    words: int
    seconds: float
    training_seconds: float
    words_per_second: float
    unit: str


def trainer_of(kind: str) -> Any:
    """Return the class of a kind of model."""
    import fastemb

    others = {"glove": fastemb.GloVe, "fasttext": fastemb.FastText, "fasttext-cbow": fastemb.FastText}
    return others.get(kind, fastemb.Word2Vec)


def train_model(
    corpus: str,
    parameters: dict[str, Any],
    console: Console,
    continue_model: str | None = None,
    kind: str = "skipgram",
    vocab: str | None = None,
) -> Outcome:
    """Train a model on the file `corpus` and show progress.

    Parameters
    ----------
    corpus : str
        A path, as the model takes it.
    parameters : dict
        Arguments of `Word2Vec`, `FastText` or `GloVe`.
    console : Console
        Where progress is shown.
    continue_model : str, optional
        File of a model to go on with; `parameters` then change some of its arguments.
    kind : {"skipgram", "cbow", "fasttext", "fasttext-cbow", "glove"}
    vocab : str, optional
        File of the words and their counts: of GloVe those of `corpus`, which is then a file of co-occurrences.

    Raises
    ------
    KeyboardInterrupt
        If Ctrl-C comes before any word was trained: there is nothing to keep.
    """
    progress = TrainingProgress(console)
    trainer = trainer_of(kind)
    model: Any = trainer() if continue_model is None else trainer.load(continue_model)
    model.set_params(**parameters, callbacks=(progress,))
    start = time.perf_counter()
    interrupted = False
    with progress.shown():
        try:
            _learn(model, corpus, kind, continue_model is not None, vocab)
        except KeyboardInterrupt:
            if not progress.words_trained:
                raise
            interrupted = True
    seconds = time.perf_counter() - start
    last = progress.last["training"]
    return Outcome(model, interrupted, progress.words_trained, seconds, last.seconds, last.words_per_second, last.unit)


def _learn(model: Any, corpus: str, kind: str, further: bool, vocab: str | None) -> None:
    if vocab is None:
        (model.train if further else model.fit)(corpus_file=corpus)
    elif kind != "glove":
        from fastemb.formats.cooccurrence import read_vocabulary

        words = read_vocabulary(vocab, model.errors)
        assert words.counts is not None
        model.build_vocab_from_freq(dict(zip(words.words, words.counts.tolist(), strict=True)))
        model.train(corpus_file=corpus)
    elif further:
        model.train(cooccurrence=corpus)
    else:
        model.fit_cooccurrence(corpus, vocab)


def save(
    outcome: Outcome, output: str, model_file: str | None, vocab_file: str | None, console: Console, **how: Any
) -> None:
    """Write the vectors, the whole model and the words with their counts where a file is given; report on the run.

    `how` is given to the vectors' own `save`.
    """
    model = outcome.model
    if outcome.interrupted:
        console.say("Interrupted: saving what was learned so far.")
    if output.lower().endswith(".bin") and getattr(model, "mode", None) == "fasttext":
        model.save(output)  # as Facebook's program does: to be trained further, too
    else:
        model.wv.save(output, **how)
    if model_file is not None:
        model.save(model_file)
    if vocab_file is not None:
        from fastemb.formats.cooccurrence import write_vocabulary

        write_vocabulary(vocab_file, model.wv.vocabulary)
    words, size = model.wv.vectors.shape
    console.say(f"Wrote {output}: {count(words)} words, {size} dimensions")
    if model_file is not None:
        console.say(f"Wrote {model_file}: the whole model")
    console.say(
        f"Trained on {count(outcome.words)} {outcome.unit} in {outcome.training_seconds:.1f} s,"
        f" {short(outcome.words_per_second)} {outcome.unit}/s; {outcome.seconds:.1f} s in all"
    )
    console.result(
        {
            "output": output,
            "model": model_file,
            "words": words,
            "vector_size": size,
            f"trained_{outcome.unit}": outcome.words,
            "seconds": outcome.seconds,
            "training_seconds": outcome.training_seconds,
            f"{outcome.unit}_per_second": outcome.words_per_second,
            "losses": list(model.losses),
            "interrupted": outcome.interrupted,
        }
    )
