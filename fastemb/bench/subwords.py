"""FastText beside the ``fasttext`` package: speed, quality for rare and unseen words, and opening a large model.

A tenth of the words of the evaluation sets, another in each round, is taken out of the text before training, so that
pairs with them ask for vectors of words that were never seen.
"""

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fastemb.bench.compare import Bench, Entry, Run
from fastemb.bench.peers import MIN_COUNT, NEGATIVE, SAMPLE, WINDOW, Config, export, peak_memory
from fastemb.bench.prepare import Prepared, prepare
from fastemb.bench.quality import name_of

MODELS = ("skipgram", "cbow")
HELD_OUT = 10  # of so many words of the evaluation sets one is held out in a round
RARE = 500  # occurrences below which a word is rare
FEWEST = 20  # pairs that a score is worth reporting for
OPEN_WORDS, OPEN_BUCKETS, OPEN_DIM = 100_000, 2_000_000, 300
LOOKED_UP = 1_000
_BLOCK_ROWS = 1 << 14


def compare(bench: Bench, rounds: int, epochs: int = 1) -> list[Run]:
    """Train skip-gram and CBOW with n-grams of 3 to 6 characters by both programs, in turn.

    Returns
    -------
    list of dict
        As `Bench.train` returns runs. ``scores`` holds for each set of pairs the correlation over its pairs of words
        that were seen, over those with a rare word (``"MEN, rare"``), and over those with a word that was not seen
        (``"MEN, unseen"``); ``pairs`` how many these are.

    Raises
    ------
    ValueError
        If there are no sets of pairs.
    """
    if not bench.pairs:
        raise ValueError("pairs must be given to compare vectors with n-grams, got none")
    asked = sorted({word for file in bench.pairs for pair in read_pairs(file) for word in pair[:2]})
    tiny = replace(bench, corpus=prepare(bench.corpus.path, max_words=20_000), log=lambda line: None)
    for model in MODELS:  # compiled before the clock runs
        _train(tiny, "fastemb-subwords", model, asked, 1, 1)
    runs = []
    for seed in range(1, rounds + 1):
        text = without(bench.corpus, [word for word in asked if is_held_out(word, seed)])
        for model in MODELS:
            for program in ("fastemb-subwords", "fasttext-subwords"):
                runs.append(_train(replace(bench, corpus=text), program, model, asked, seed, epochs))
    return runs


def _train(bench: Bench, program: str, model: str, asked: Sequence[str], seed: int, epochs: int) -> Run:
    name = program.removesuffix("-subwords")
    with tempfile.TemporaryDirectory(prefix="fastemb-bench-") as kept:
        options = {"model": model, "asked": list(asked), "kept": kept}
        entry = Entry(f"{name}, {model}", program, options=options)
        run = bench.train(entry, epochs=epochs, seed=seed, scored=False)
        vectors = np.load(Path(kept, "asked.npy"))
        counts = json.loads(Path(kept, "counts.json").read_text(encoding="utf-8"))
    places = {word: row for row, word in enumerate(asked)}
    run["scores"], run["pairs"] = {}, {}
    for file in bench.pairs:
        pairs = read_pairs(file)
        run["scores"] |= correlations(name_of(file), pairs, vectors, places, counts)
        run["pairs"] |= {what: int(chosen.sum()) for what, chosen in groups(name_of(file), pairs, counts).items()}
    shown = [f"{what} {value:.1f} of {run['pairs'][what]} pairs" for what, value in run["scores"].items()]
    bench.log(f"{entry.label}: {', '.join(shown)}")
    return run


def read_pairs(file: str | Path) -> list[tuple[str, str, float]]:
    """Return the pairs of words of an evaluation set, in lower case, and their scores."""
    found = []
    for line in Path(file).read_text(encoding="utf-8").splitlines():
        fields = line.split("\t")
        if not line.startswith("#") and len(fields) == 3:
            found.append((fields[0].lower(), fields[1].lower(), float(fields[2])))
    return found


def is_held_out(word: str, seed: int) -> bool:
    """Return whether a word of the evaluation sets is taken out of the text of a round: in one of ten rounds it is.

    Examples
    --------
    >>> [[seed for seed in range(1, 21) if is_held_out(word, seed)] for word in ("sun", "tea")]
    [[6, 16], [9, 19]]
    """
    number = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "little")
    return number % HELD_OUT == seed % HELD_OUT


def without(text: Prepared, words: Iterable[str]) -> Prepared:
    """Return a text without some words, kept beside it."""
    dropped = {word.encode() for word in words}
    name = hashlib.blake2b(b"\n".join(sorted(dropped)), digest_size=6).hexdigest()
    target = Path(f"{text.path}.without-{name}")
    number = 0
    if not target.exists():
        unfinished = target.with_suffix(".unfinished")
        with open(text.path, "rb") as source, open(unfinished, "wb") as out:
            for line in source:
                out.write(b" ".join([word for word in line.split() if word not in dropped]) + b"\n")
        unfinished.rename(target)
    with open(target, "rb") as source:
        number = sum(len(line.split()) for line in source)
    return Prepared(str(target), number, text.lines, target.stat().st_size)


def groups(name: str, pairs: Sequence[tuple[str, str, float]], counts: dict[str, int]) -> dict[str, np.ndarray]:
    """Return which pairs are of words that were seen, which of these have a rare word, and which one not seen.

    Examples
    --------
    >>> groups("MEN", [("sun", "moon", 8.0), ("sun", "eclipse", 6.0)], {"sun": 1000, "moon": 700})
    {'MEN': array([ True, False]), 'MEN, rare': array([False, False]), 'MEN, unseen': array([False,  True])}
    """
    rarest = np.array([min(counts.get(a, 0), counts.get(b, 0)) for a, b, _ in pairs])
    seen = rarest >= MIN_COUNT
    return {name: seen, f"{name}, rare": seen & (rarest < RARE), f"{name}, unseen": ~seen}


def correlations(
    name: str,
    pairs: Sequence[tuple[str, str, float]],
    vectors: np.ndarray,
    places: dict[str, int],
    counts: dict[str, int],
) -> dict[str, float]:
    """Return Spearman's correlation, times 100, of all pairs, those with a rare word, those with an unseen one."""
    from scipy.stats import spearmanr

    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    rows = np.array([(places[a], places[b]) for a, b, _ in pairs])
    cosines = np.einsum("ij,ij->i", units[rows[:, 0]], units[rows[:, 1]])
    wanted = np.array([score for *_, score in pairs])
    return {
        what: 100 * float(spearmanr(cosines[chosen], wanted[chosen])[0])
        for what, chosen in groups(name, pairs, counts).items()
        if chosen.sum() >= FEWEST
    }


def _keep(config: Config, vector_of: Callable[[str], Any], counts: dict[str, int]) -> None:
    """Write the vectors of the words that will be asked for, seen or not, and how often each was there."""
    options = config.options or {}
    np.save(Path(options["kept"], "asked.npy"), np.array([vector_of(word) for word in options["asked"]], np.float32))
    asked = {word: counts.get(word, 0) for word in options["asked"]}
    Path(options["kept"], "counts.json").write_text(json.dumps(asked), encoding="utf-8")


def train_fastemb(config: Config) -> dict[str, Any]:
    """Train `FastText` and return the seconds of each stage."""
    from fastemb import FastText

    seconds: dict[str, float] = {}
    moments: dict[str, float] = {}

    class Watch:
        def on_progress(self, model: object, progress: Any) -> None:
            seconds[progress.stage] = progress.seconds
            moments.setdefault(progress.stage, time.monotonic())

    rate: dict[str, Any] = {} if config.alpha is None else {"alpha": config.alpha}
    began = time.monotonic()
    model = FastText(
        corpus_file=config.corpus, vector_size=config.vector_size, window=WINDOW, sample=SAMPLE, min_count=MIN_COUNT,
        negative=NEGATIVE, epochs=config.epochs, workers=config.threads, seed=config.seed, callbacks=(Watch(),),
        sg=int((config.options or {})["model"] == "skipgram"), **rate,
    )  # fmt: skip
    trained = time.monotonic()
    model.save(str(Path(config.folder) / "vectors.bin"))
    saved, peak = time.monotonic(), peak_memory()
    counts = dict(zip(model.wv.index_to_key, model.wv.counts.tolist(), strict=True))  # type: ignore[union-attr]
    export(config, model.wv.index_to_key[:1000], model.wv.vectors[:1000])
    _keep(config, model.wv.get_vector, counts)
    scan = seconds["scanning"]
    return {
        "scan_seconds": scan,
        "tables_seconds": moments["training"] - began - scan,
        # The tables of two million rows are part of what a user waits for, as they are of fastText's time.
        "train_seconds": trained - began - scan,
        "save_seconds": saved - trained,
        "saved": saved,
        "peak_bytes": peak,
    }


def train_fasttext(config: Config) -> dict[str, Any]:
    """Train with the ``fasttext`` package and return the seconds of each stage."""
    import fasttext

    rate: dict[str, Any] = {} if config.alpha is None else {"lr": config.alpha}
    began = time.monotonic()
    model = fasttext.train_unsupervised(
        config.corpus, model=(config.options or {})["model"], dim=config.vector_size, ws=WINDOW, neg=NEGATIVE, t=SAMPLE,
        minCount=MIN_COUNT, epoch=config.epochs, thread=config.threads, verbose=1, **rate,
    )  # fmt: skip
    trained = time.monotonic()
    model.save_model(str(Path(config.folder) / "vectors.bin"))
    saved, peak = time.monotonic(), peak_memory()
    words, frequencies = model.get_words(include_freq=True)
    export(config, words[:1000], [model.get_word_vector(word) for word in words[:1000]])
    _keep(config, model.get_word_vector, dict(zip(words, map(int, frequencies), strict=True)))
    return {
        "called": began,
        "returned": trained,
        "save_seconds": saved - trained,
        "saved": saved,
        "peak_bytes": peak,
    }


def open_large(bench: Bench, rounds: int) -> list[Run]:
    """Open a fastText model of 2.5 GB for its words' vectors, in a fresh process each time.

    Returns
    -------
    list of dict
        For each round and program seconds and peak memory of opening, of looking up 1000 words and as many unseen ones,
        and of the vectors of all words; ``used_bytes`` is what each of these stages has to hold or read.
    """
    with tempfile.TemporaryDirectory(prefix="fastemb-bench-") as folder:
        path = Path(folder, "large.bin")
        write_large(path)
        bench.log(f"opening {path.stat().st_size / 1e9:.2f} GB")
        runs = []
        for _ in range(rounds):
            for program in ("fastemb-open", "fasttext-open"):
                config = Config(str(path), folder, threads=bench.threads)
                result, outcome = bench.launch(program, config)
                run = {"program": program, "file_bytes": path.stat().st_size, **result}
                run["peak_anonymous_bytes"] = outcome.peak_anonymous_bytes
                runs.append(run)
                bench.log(f"{program}: " + ", ".join(f"{name} {value:.4g}" for name, value in result.items()))
    return runs


def write_large(path: Path, words: int = OPEN_WORDS, buckets: int = OPEN_BUCKETS, dim: int = OPEN_DIM) -> None:
    """Write a model of fastText with random rows, block by block."""
    from fastemb.corpus.vocabulary import Vocabulary
    from fastemb.formats.fasttext_file import Arguments, Dictionary, Writer

    random = np.random.default_rng(0)
    letters = np.frombuffer(b"etaoinshrdlcumwfgypbvk", np.uint8)
    names = [b"%b%d" % (letters[random.integers(0, 22, 8)].tobytes(), number) for number in range(words)]
    vocabulary = Vocabulary.from_bytes(names, np.arange(words, 0, -1))
    block = random.standard_normal((_BLOCK_ROWS, dim)).astype("<f4")
    with open(path, "wb", buffering=0) as file:
        writer = Writer(file)
        writer.arguments(Arguments(dim, bucket=buckets))
        writer.dictionary(Dictionary(vocabulary, Vocabulary.from_bytes([]), int(vocabulary.counts.sum())))  # type: ignore[union-attr]
        writer.numbers("u1", 0)
        writer.numbers("<i8", words + buckets, dim)
        for first in range(0, words + buckets, _BLOCK_ROWS):
            file.write(block[: words + buckets - first].data.cast("B"))
        writer.zeros(words, dim)


def open_fastemb(config: Config) -> dict[str, Any]:
    """Open a model with fastemb."""
    from fastemb import KeyedVectors
    from fastemb.corpus.vocabulary import Vocabulary
    from fastemb.formats.subwords import SubwordTable

    # Compiled before the clock runs, as what that takes is measured on its own.
    tiny = SubwordTable(Vocabulary.from_words(["a"]), np.zeros((4001, 300), np.float32), _subwords(4000))
    tiny.vectors_of(Vocabulary.from_words(["abcdefgh" * 20]))
    before, began = peak_memory(), time.monotonic()
    kv: Any = KeyedVectors.load(config.corpus)
    opened, peak_open = time.monotonic(), peak_memory()
    words = kv.vocabulary
    held = words.packed.nbytes + words.offsets.nbytes + words.counts.nbytes
    step = max(1, len(words) // LOOKED_UP)
    asked = [words.as_bytes(row, row + 1)[0].decode() for row in range(0, len(words), step)]
    looked_up = time.monotonic()
    kv[asked[0]], kv["unseen" + asked[0]]
    first = time.monotonic()
    for word in asked:
        kv.get_vector(word), kv.get_vector(f"un{word}")
    found, peak_found = time.monotonic(), peak_memory()
    kv.vectors  # noqa: B018, computed when it is looked at
    done, peak = time.monotonic(), peak_memory()
    words_bytes = sum(map(sys.getsizeof, kv.index_to_key)) + sys.getsizeof(kv.index_to_key)
    words_bytes += sys.getsizeof(kv.key_to_index)
    return {
        "open_seconds": opened - began,
        "first_words_seconds": first - looked_up,
        "lookups_seconds": found - first,
        "all_seconds": done - found,
        "start_bytes": before,
        "open_bytes": peak_open - before,
        "open_used_bytes": held,
        "lookups_bytes": peak_found - before,
        "all_bytes": peak - before,
        "all_used_bytes": held + words_bytes + kv.vectors.nbytes,
    }


def _subwords(bucket: int) -> Any:
    from fastemb.corpus.subwords import Subwords

    return Subwords(bucket=bucket)


def open_fasttext(config: Config) -> dict[str, Any]:
    """Open a model with the ``fasttext`` package."""
    import fasttext

    before, began = peak_memory(), time.monotonic()
    model = fasttext.load_model(config.corpus)
    opened, peak = time.monotonic(), peak_memory()
    words = model.get_words()
    asked = words[:: max(1, len(words) // LOOKED_UP)]
    first = time.monotonic()
    for word in asked:
        model.get_word_vector(word), model.get_word_vector(f"un{word}")
    found = time.monotonic()
    for word in words:
        model.get_word_vector(word)
    return {
        "open_seconds": opened - began,
        "lookups_seconds": found - first,
        "all_seconds": time.monotonic() - found,
        "start_bytes": before,
        "open_bytes": peak - before,
    }


PROGRAMS: dict[str, Callable[[Config], dict[str, Any]]] = {
    "fastemb-subwords": train_fastemb,
    "fasttext-subwords": train_fasttext,
    "fastemb-open": open_fastemb,
    "fasttext-open": open_fasttext,
}
