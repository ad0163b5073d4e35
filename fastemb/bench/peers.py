"""One training run of one program, in a process of its own: ``python -m fastemb.bench.peers PROGRAM CONFIG RESULT``.

CONFIG is a JSON file with the fields of `Config`; RESULT is written with the seconds of each stage. After the clock has
stopped the vectors are written as ``.npy`` and words, the same for each program, so that one evaluator reads them all.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MIN_COUNT = 5
NEGATIVE = 5
WINDOW = 5
SAMPLE = 1e-3


@dataclass(frozen=True)
class Config:
    """What to train.

    Attributes
    ----------
    corpus
        A prepared text.
    folder
        Where the model is saved, and the vectors for evaluation.
    vector_size, epochs, threads, seed
        As the trainers' arguments.
    alpha
        The learning rate; None for the program's own default.
    options
        Further arguments of fastemb's or gensim's `Word2Vec`; skip-gram with 5 negatives where they do not say.

    Examples
    --------
    >>> from fastemb.bench.peers import Config
    >>> Config(corpus="text.txt", folder=".").alpha is None
    True
    """

    corpus: str
    folder: str
    vector_size: int = 100
    epochs: int = 1
    threads: int = 2
    seed: int = 1
    alpha: float | None = None
    options: dict[str, Any] | None = None

    def save(self, path: str | Path) -> None:
        """Write the fields as JSON.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> from fastemb.bench.peers import Config
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Config(corpus="text.txt", folder=folder).save(pathlib.Path(folder, "config.json"))
        """
        Path(path).write_text(json.dumps(asdict(self)), encoding="utf-8")


def train_fastemb(config: Config) -> dict[str, Any]:
    """Train with fastemb and return the seconds of each stage.

    ``compile_seconds`` goes from the end of the scan to the start of training where nothing has to be compiled: it
    holds reading kernels from the cache and making the tables.
    """
    from fastemb import Word2Vec

    seconds: dict[str, float] = {}
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    rates: list[float] = []

    class Watch:
        def on_progress(self, model: object, progress: Any) -> None:
            seconds[progress.stage] = progress.seconds
            last[progress.stage] = time.monotonic()
            first.setdefault(progress.stage, last[progress.stage])
            if progress.stage == "training":
                rates.append(progress.alpha)

    rate: dict[str, Any] = {} if config.alpha is None else {"alpha": config.alpha}
    model = Word2Vec(
        corpus_file=config.corpus, vector_size=config.vector_size, window=WINDOW, sample=SAMPLE, min_count=MIN_COUNT,
        epochs=config.epochs, workers=config.threads, seed=config.seed, callbacks=(Watch(),),
        **rate, **{"sg": 1, "negative": NEGATIVE, **(config.options or {})},
    )  # fmt: skip
    trained = time.monotonic()
    model.wv.save(str(Path(config.folder) / "vectors.safetensors"))
    saved, peak = time.monotonic(), peak_memory()
    export(config, model.wv.index_to_key, model.wv.vectors)
    return {
        "scan_seconds": seconds["scanning"],
        "compile_seconds": first["training"] - first.get("compiling", last["scanning"]),
        "train_seconds": seconds["training"],
        "save_seconds": saved - trained,
        "saved": saved,
        "peak_bytes": peak,
        "loss": model.losses,
        "vocabulary": len(model.wv),
        "alpha": rates[0],
    }


def train_gensim(config: Config) -> dict[str, Any]:
    """Train with gensim's `Word2Vec` on a `corpus_file` and return the seconds of each stage."""
    from gensim.models import Word2Vec

    scans: list[float] = []

    class Timed(Word2Vec):
        def scan_vocab(self, *args: Any, **kwargs: Any) -> Any:
            start = time.monotonic()
            counted = super().scan_vocab(*args, **kwargs)
            scans.append(time.monotonic() - start)
            return counted

    rate: dict[str, Any] = {} if config.alpha is None else {"alpha": config.alpha}
    model = Timed(
        vector_size=config.vector_size, window=WINDOW, sample=SAMPLE, min_count=MIN_COUNT, epochs=config.epochs,
        workers=config.threads, seed=config.seed, **rate, **{"sg": 1, "negative": NEGATIVE, **(config.options or {})},
    )  # fmt: skip
    model.build_vocab(corpus_file=config.corpus)
    start = time.monotonic()
    model.train(corpus_file=config.corpus, total_words=model.corpus_total_words, epochs=config.epochs)
    trained = time.monotonic()
    model.wv.save(str(Path(config.folder) / "vectors.kv"))
    saved, peak = time.monotonic(), peak_memory()
    export(config, model.wv.index_to_key, model.wv.vectors)
    return {
        "scan_seconds": scans[0],
        "train_seconds": trained - start,
        "save_seconds": saved - trained,
        "saved": saved,
        "peak_bytes": peak,
        "alpha": float(model.alpha),
    }


def train_fasttext(config: Config) -> dict[str, Any]:
    """Train with fastText without subwords and return when its stages began.

    It reads and counts the words first and says ``Number of words`` on standard error when it has done so; who started
    this process takes the time of that line as the end of the scan.
    """
    import fasttext
    import numpy as np

    rate = 0.05 if config.alpha is None else config.alpha
    start = time.monotonic()
    model = fasttext.train_unsupervised(
        config.corpus, model="skipgram", dim=config.vector_size, ws=WINDOW, neg=NEGATIVE, t=SAMPLE, minCount=MIN_COUNT,
        epoch=config.epochs, thread=config.threads, minn=0, maxn=0, lr=rate, verbose=1,
    )  # fmt: skip
    trained = time.monotonic()
    model.save_model(str(Path(config.folder) / "vectors.bin"))
    saved, peak = time.monotonic(), peak_memory()
    export(config, model.words, np.asarray(model.get_input_matrix()))
    return {
        "called": start,
        "returned": trained,
        "save_seconds": saved - trained,
        "saved": saved,
        "peak_bytes": peak,
        "alpha": rate,
    }


def scan_fastemb(config: Config) -> dict[str, Any]:
    """Count and encode the corpus with fastemb, without training."""
    from fastemb.corpus.reader import read_corpus

    start = time.monotonic()
    with read_corpus(config.corpus, min_count=MIN_COUNT, workers=config.threads) as corpus:
        seconds = time.monotonic() - start
        return {"scan_seconds": seconds, "words": corpus.num_words, "vocabulary": len(corpus.vocabulary)}


def scan_gensim(config: Config) -> dict[str, Any]:
    """Count the corpus with gensim's `scan_vocab`, without training."""
    from gensim.models import Word2Vec

    model = Word2Vec(min_count=MIN_COUNT)
    start = time.monotonic()
    words, _ = model.scan_vocab(corpus_file=config.corpus)
    seconds = time.monotonic() - start
    kept = sum(count >= MIN_COUNT for count in model.raw_vocab.values())
    return {"scan_seconds": seconds, "words": int(words), "vocabulary": kept}


PROGRAMS: dict[str, Callable[[Config], dict[str, Any]]] = {
    "fastemb": train_fastemb,
    "gensim": train_gensim,
    "fasttext": train_fasttext,
    "fastemb-scan": scan_fastemb,
    "gensim-scan": scan_gensim,
}


def export(config: Config, words: list[str], vectors: Any) -> None:
    """Write `words`, one a line, and `vectors` as ``.npy`` into the configuration's folder.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from fastemb.bench.peers import Config, export
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export(Config(corpus="text.txt", folder=folder), ["a", "b"], np.zeros((2, 3), dtype=np.float32))
    ...     sorted(path.name for path in pathlib.Path(folder).iterdir())
    ['vectors.npy', 'words.txt']
    """
    import numpy as np

    np.save(Path(config.folder) / "vectors.npy", np.asarray(vectors, dtype=np.float32))
    (Path(config.folder) / "words.txt").write_text("\n".join(words), encoding="utf-8")


def peak_memory() -> int:
    """Return the most memory that this process has had until now, in bytes, mapped files included.

    Examples
    --------
    >>> from fastemb.bench.peers import peak_memory
    >>> peak_memory() > 1_000_000
    True
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def main(argv: list[str]) -> None:
    """Train as the command line `argv` says: PROGRAM, CONFIG, RESULT.

    Examples
    --------
    >>> from fastemb.bench.peers import main
    >>> main(["gensim"])
    Traceback (most recent call last):
        ...
    SystemExit: usage: python -m fastemb.bench.peers PROGRAM CONFIG RESULT
    """
    from fastemb.bench import subwords  # which needs what is here

    programs = PROGRAMS | subwords.PROGRAMS
    if len(argv) != 3 or argv[0] not in programs:
        raise SystemExit("usage: python -m fastemb.bench.peers PROGRAM CONFIG RESULT")
    program, source, target = argv
    config = Config(**json.loads(Path(source).read_text(encoding="utf-8")))
    result = programs[program](config)
    Path(target).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
