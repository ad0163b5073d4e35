"""`fastemb train`, `warmup` and `bench`, from the command line."""

import gzip
import inspect
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastemb import FastTextClassifier, KeyedVectors, Word2Vec, num_threads
from fastemb.cli import main
from fastemb.cli import train as train_module

RUN = [sys.executable, "-m", "fastemb"]
LINES = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog"] * 20
SMALL = ["--vector-size", "8", "--epochs", "2", "--workers", "1"]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(LINES) + "\n")
    return str(path)


@pytest.fixture
def out(tmp_path):
    return str(tmp_path / "out.safetensors")


def fails(argv, capsys, *parts, code=1):
    """Check that a command fails with one line that has `parts`, and prints no result."""
    assert main(argv) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    errors = captured.err.splitlines()
    assert errors[-1].startswith("fastemb: ")
    assert "Traceback" not in captured.err
    for part in parts:
        assert part in errors[-1]


def test_train(text, out, capsys):
    assert main(["train", text, "-o", out, *SMALL]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"Wrote {out}: 9 words, 8 dimensions" in captured.err
    assert "Epoch 1 of 2" in captured.err
    assert "Epoch 2 of 2" in captured.err
    assert " 0 words/s" not in captured.err
    assert "words/s" in captured.err
    expected = Word2Vec(corpus_file=text, sg=1, vector_size=8, epochs=2, workers=1).wv
    found = KeyedVectors.load(out)
    assert found.index_to_key == expected.index_to_key
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    assert found.get_vecattr("the", "count") == 80


def test_quiet_and_json(text, out, capsys):
    assert main(["train", text, "-o", out, *SMALL, "--quiet", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    summary = json.loads(captured.out)
    assert summary["output"] == out
    assert (summary["words"], summary["vector_size"], summary["interrupted"]) == (9, 8, False)
    assert summary["trained_words"] == 2 * len(" ".join(LINES).split())
    assert len(summary["losses"]) == 2
    assert main(["train", text, "-o", out, *SMALL, "-q"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("option", "parameter", "value"),
    [
        (["--vector-size", "12"], "vector_size", 12),
        (["--window", "2"], "window", 2),
        (["--model", "cbow"], "sg", 0),
        (["--hs"], "hs", 1),
        (["--no-cbow-mean"], "cbow_mean", 0),
        (["--cbow-update", "classic"], "cbow_update", "classic"),
        (["--compat", "gensim"], "compat", "gensim"),
        (["--negative", "3"], "negative", 3),
        (["--epochs", "3"], "epochs", 3),
        (["--alpha", "0.03"], "alpha", 0.03),
        (["--min-alpha", "0.01"], "min_alpha", 0.01),
        (["--sample", "0"], "sample", 0.0),
        (["--ns-exponent", "0.5"], "ns_exponent", 0.5),
        (["--no-shrink-windows"], "shrink_windows", False),
        (["--no-shared-negatives"], "shared_negatives", False),
        (["--min-count", "1"], "min_count", 1),
        (["--lowercase"], "lowercase", True),
        (["--max-sentence-length", "4"], "max_sentence_length", 4),
        (["--errors", "ignore"], "errors", "ignore"),
        (["--workers", "2"], "workers", 2),
        (["--seed", "7"], "seed", 7),
        (["--max-memory", "1G"], "max_memory", "1G"),
        (["--max-vocab-size", "100"], "max_vocab_size", 100),
        (["--max-final-vocab", "9"], "max_final_vocab", 9),
        (["--no-sorted-vocab"], "sorted_vocab", 0),
        (["--pretrained-lockf", "0.5"], "pretrained_lockf", 0.5),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_each_option_reaches_the_model(option, parameter, value, text, out, tmp_path):
    model = str(tmp_path / "model.safetensors")
    assert main(["train", text, "-o", out, "-q", "--save-model", model, *option]) == 0
    got = Word2Vec.load(model).get_params()
    assert got[parameter] == value
    default = Word2Vec(sg=1).get_params()
    assert {name for name in got if got[name] != default[name]} == {parameter}


def test_it_starts_from_vectors(text, out, tmp_path, capsys):
    first, second = str(tmp_path / "first.txt"), str(tmp_path / "second.txt")
    assert main(["train", text, "-o", first, "-q", *SMALL, "--min-count", "30"]) == 0
    how = ["--pretrained", first, "--pretrained-lockf", "0", "-q", *SMALL, "--min-count", "1"]
    assert main(["train", text, "-o", second, *how]) == 0
    before, after = KeyedVectors.load(first), KeyedVectors.load(second)
    assert len(after) > len(before) > 0
    np.testing.assert_array_equal(after[before.index_to_key], before.vectors)
    model = str(tmp_path / "model.safetensors")
    assert main(["train", text, "-o", out, "-q", *SMALL, "--save-model", model]) == 0
    how = ["train", text, "-o", out, "--continue", model]
    fails([*how, "--pretrained", first], capsys, "--pretrained is the saved model's own", code=2)
    missing = str(tmp_path / "missing.txt")
    fails(["train", text, "-o", out, "--pretrained", missing], capsys, "missing.txt")


def test_it_reads_a_vocabulary(text, out, tmp_path, capsys):
    vocab, model, again = (str(tmp_path / name) for name in ("vocab.txt", "model.safetensors", "again.safetensors"))
    small = [*SMALL, "--min-count", "30", "-q"]
    assert main(["train", text, "-o", out, "--save-vocab", vocab, *small]) == 0
    assert main(["train", text, "-o", again, "--read-vocab", vocab, *small]) == 0
    first, second = KeyedVectors.load(out), KeyedVectors.load(again)
    assert first.index_to_key == second.index_to_key
    np.testing.assert_array_equal(first.vectors, second.vectors)
    Path(vocab).write_text("</s> 60\nthe 9\ndog 7\nmouse 5\n")  # as word2vec.c's; not all words are in the text
    small = [*SMALL, "-q", "--model", "fasttext", "--bucket", "50", "--min-count", "6", "--save-model", model]
    assert main(["train", text, "-o", again, "--read-vocab", vocab, *small]) == 0
    found = KeyedVectors.load(again)
    assert found.index_to_key == ["</s>", "the", "dog"] and found.get_vecattr("dog", "count") == 7
    how = ["train", text, "-o", out, "--read-vocab", vocab]
    fails([*how, "--continue", model, "--model", "fasttext"], capsys, "--read-vocab is the saved model's own", code=2)
    fails([*how, "--model", "glove"], capsys, "--read-vocab has no meaning with --model glove", code=2)
    fails([*how, "--min-count", "99"], capsys, "min_count")
    Path(vocab).write_text("the 9\ndog\n")
    fails(how, capsys, "vocab.txt', line 2: must be a word and its count")
    Path(vocab).write_text("mouse 9\n")
    fails(how, capsys, "none of the 9 words read is in the vocabulary of 1 words")
    fails([*how, "--save-vocab", out], capsys, "--output and --save-vocab are the same file", code=2)


def test_defaults_are_the_library_s():
    ours = {name: item.default for name, item in inspect.signature(train_module.train).parameters.items()}
    theirs = {name: item.default for name, item in inspect.signature(Word2Vec).parameters.items()}
    ours["errors"] = ours["errors"].value
    missing = set(theirs) - set(ours)
    told_otherwise = {"sentences", "corpus_file", "sg", "callbacks"}
    left_to_python = {"trim_rule", "compute_loss"}
    assert missing == told_otherwise | left_to_python | {"batch_words", "comment", "hashfxn", "null_word"}
    assert {name: ours[name] for name in theirs if name in ours} == {n: theirs[n] for n in theirs if n in ours}


@pytest.mark.parametrize("suffix", [".txt", ".bin", ".npy", ".glove", ".vec.gz"])
def test_the_suffix_decides_the_format(suffix, text, tmp_path, capsys):
    out = str(tmp_path / f"out{suffix}")
    assert main(["train", text, "-o", out, *SMALL, "-q"]) == 0
    assert "the" in KeyedVectors.load(out)


def test_gzip_folder_and_standard_input_give_the_same(text, out, tmp_path):
    assert main(["train", text, "-o", out, *SMALL, "-q"]) == 0
    expected = KeyedVectors.load(out).vectors
    folder = tmp_path / "folder"
    folder.mkdir()
    content = Path(text).read_bytes()
    (folder / "text.txt.gz").write_bytes(gzip.compress(content))
    for source, given in ((folder, None), (folder / "text.txt.gz", None), ("-", content)):
        target = str(tmp_path / "again.safetensors")
        argv = [*RUN, "train", str(source), "-o", target, *SMALL, "-q"]
        done = subprocess.run(argv, input=given, capture_output=True, check=True)
        assert (done.stdout, done.stderr) == (b"", b"")
        np.testing.assert_array_equal(KeyedVectors.load(target).vectors, expected)


def test_a_model_goes_on(text, out, tmp_path, capsys):
    model, further = str(tmp_path / "model.safetensors"), str(tmp_path / "further.safetensors")
    assert main(["train", text, "-o", out, *SMALL, "--save-model", model]) == 0
    assert f"Wrote {model}" in capsys.readouterr().err
    argv = ["train", text, "-o", out, "--continue", model, "--save-model", further, "-q"]
    assert main([*argv, "--epochs", "3", "--alpha", "0.01"]) == 0
    before, after = Word2Vec.load(model), Word2Vec.load(further)
    assert (len(before.losses), len(after.losses)) == (2, 5)
    assert (after.alpha, after.vector_size, after.workers) == (0.01, 8, 1)
    assert after.losses[:2] == before.losses
    fails([*argv, "--vector-size", "9"], capsys, "--vector-size", code=2)
    fails(["train", text, "-o", out, "--continue", text], capsys, text)
    assert main(["train", text, "-o", out, *SMALL, "-q"]) == 0
    fails(["train", text, "-o", out, "--continue", out], capsys, out, "not a Word2Vec model")


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("empty.txt", b"", ["empty.txt"]),
        ("blank.txt", b"\n \n\t\n", ["blank.txt"]),
        ("rare.txt", b"one two three\nfour five\n", ["min_count"]),
        ("latin.txt", b"caf\xe9 au lait\n" * 9, ["latin.txt", "UTF-8"]),
        ("binary.txt", bytes(range(256)) * 99, ["binary.txt"]),
        ("nul.txt", b"one\x00two three\n" * 9, ["nul.txt"]),
        ("cut.txt.gz", gzip.compress(b"some words in here\n" * 999, mtime=0)[:60], ["cut.txt.gz"]),
    ],
)
def test_bad_texts(name, content, parts, out, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(content)
    fails(["train", str(path), "-o", out], capsys, *parts)
    assert not os.path.exists(out)


def test_missing_text_and_empty_folder(out, tmp_path, capsys):
    fails(["train", str(tmp_path / "nosuch.txt"), "-o", out], capsys, "nosuch.txt: ")
    (tmp_path / "folder").mkdir()
    fails(["train", str(tmp_path / "folder"), "-o", out], capsys, "folder")
    assert os.listdir(tmp_path) == ["folder"]


def test_odd_texts_train(out, tmp_path):
    path = tmp_path / "odd.txt"
    path.write_bytes(b"one two three\r\nfour \xe2\x80\x83five\r\n" * 9)
    assert main(["train", str(path), "-o", out, *SMALL, "-q"]) == 0
    assert sorted(KeyedVectors.load(out).index_to_key) == ["five", "four", "one", "three", "two"]
    path.write_bytes(b"caf\xe9 au lait\n" * 9)
    assert main(["train", str(path), "-o", out, *SMALL, "-q", "--errors", "ignore"]) == 0
    assert "caf" in KeyedVectors.load(out)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--vector-size", "0"),
        ("--window", "101"),
        ("--negative", "65"),
        ("--epochs", "-1"),
        ("--alpha", "0"),
        ("--alpha", "nan"),
        ("--min-alpha", "1"),
        ("--sample", "-2"),
        ("--workers", "0"),
        ("--seed", "-1"),
        ("--max-sentence-length", "0"),
        ("--max-memory", "lots"),
    ],
)
def test_options_out_of_range(option, value, text, out, capsys):
    fails(["train", text, "-o", out, option, value], capsys, option[2:].replace("-", "_"), value)
    assert not os.path.exists(out)


def test_outputs_are_checked_before_work(text, tmp_path, capsys):
    missing = str(tmp_path / "nosuch.txt")  # would be told first if the text were read first
    fails(["train", missing, "-o", str(tmp_path / "no" / "out.txt")], capsys, "does not exist")
    fails(["train", missing, "-o", str(tmp_path)], capsys, "folder")
    fails(["train", missing, "-o", str(tmp_path / "out.xyz")], capsys, "out.xyz")
    good = str(tmp_path / "out.txt")
    fails(
        ["train", missing, "-o", good, "--save-model", str(tmp_path / "no" / "m.safetensors")], capsys, "does not exist"
    )
    fails(["train", missing, "-o", good, "--save-model", str(tmp_path / "m.txt")], capsys, ".safetensors", code=2)
    fails(["train", text, "-o", good, "--errors", "nosuch"], capsys, "--errors", code=2)


def test_formats_are_checked_before_work(text, capsys):
    for suffix in (".bin", ".ftz"):
        argv = ["train", text, "-o", f"out{suffix}", "--model", "fasttext", "--mode", "floret"]
        fails(argv, capsys, f"out{suffix}: fastText's format cannot hold floret's table", code=2)
    fails(["train", text, "-o", "out.floret"], capsys, "out.floret needs --model fasttext --mode floret", code=2)


def test_outputs_do_not_overwrite_the_text_or_each_other(text, out, capsys, monkeypatch):
    before = Path(text).read_bytes()
    monkeypatch.chdir(Path(text).parent)
    fails(["train", text, "-o", "text.txt"], capsys, "text.txt", "overwrite", code=2)
    assert Path(text).read_bytes() == before
    fails(["train", ".", "-o", "out.txt"], capsys, "out.txt", "folder of the text", code=2)
    fails(["train", ".", "-o", "../o.txt", "--save-model", "m.safetensors"], capsys, "m.safetensors", "folder", code=2)
    fails(
        ["train", text, "-o", out, "--save-model", "out.safetensors"], capsys, "out.safetensors", "--save-model", code=2
    )


def test_overflow_is_one_line_and_keeps_the_old_file(text, out, capsys):
    Path(out).write_text("old")
    fails(["train", text, "-o", out, *SMALL, "--alpha", "1e30"], capsys, "alpha")
    assert Path(out).read_text() == "old"


# Python ignores Ctrl-C where its parent does, as a test run in the background may.
INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from fastemb.cli import main
sys.exit(main(sys.argv[1:]))
"""


def start(argv, **options):
    command = [sys.executable, "-c", INTERRUPTED, *argv]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


posix = pytest.mark.skipif(os.name != "posix", reason="sends a signal")
ENDLESS = 200  # seconds: what is not interrupted goes on for hours


@posix
def test_interrupted_training_saves_what_there_is(text, out):
    argv = ["train", text, "-o", out, "--vector-size", "8", "--epochs", "10000000", "--json"]
    with start(argv) as process:
        while b"Epoch 1 " not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=ENDLESS)
    assert process.returncode == 130
    assert b"Interrupted: saving" in stderr
    assert b"Traceback" not in stderr
    summary = json.loads(stdout)
    assert summary["interrupted"] is True
    assert np.isfinite(KeyedVectors.load(out).vectors).all()


@posix
@pytest.mark.parametrize(
    ("command", "options", "marker"),
    [("train", ["--epochs", "10000000"], b"Epoch 1 "), ("autotune", ["--seconds", "1000000"], b"best so far")],
)
def test_interrupted_classifiers_are_saved(command, options, marker, tmp_path):
    labelled, out = str(tmp_path / "labelled.txt"), str(tmp_path / "out.bin")
    Path(labelled).write_text("".join(f"__label__{number % 2} {line}\n" for number, line in enumerate(LINES)))
    texts = [labelled] * (1 + (command == "autotune"))
    with start(["classify", command, *texts, "-o", out, *options, "--json"]) as process:
        while marker not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=ENDLESS)
    assert process.returncode == 130
    assert b"Interrupted: saving" in stderr and b"Traceback" not in stderr
    assert json.loads(stdout)["interrupted"] is True
    assert FastTextClassifier.load(out).predict(["a dog"])[0] in "01"


@posix
def test_interrupted_scan_leaves_nothing(out):
    with start(["train", "-", "-o", out], stdin=subprocess.PIPE) as process:
        process.stdin.write(b"some words\n" * 100_000)  # more than a pipe holds: it returns once the scan is on
        process.stdin.flush()
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=ENDLESS)
    assert process.returncode == 130
    assert (stdout, stderr) == (b"", b"fastemb: interrupted\n")
    assert not os.path.exists(out)


@pytest.mark.parametrize("cached", [True, False])
def test_first_compilation_is_announced(cached, monkeypatch):
    """A cold cache is slow to fill, so this looks at what the callback says, not at a compilation."""
    from fastemb.cli.console import Console
    from fastemb.cli.progress import COMPILING, COMPILING_AGAIN, TrainingProgress
    from fastemb.engine import backend
    from fastemb.trainers.schedule import Progress

    monkeypatch.setattr(backend, "has_cache", lambda: cached)

    told = []
    console = Console()
    console.say = told.append
    progress = TrainingProgress(console)
    tick = Progress("compiling", 0, 1, 0, None, 0.0, 0.0, float("nan"), 0.05)
    progress.on_progress(None, tick)
    progress.on_progress(None, tick)
    assert told == [COMPILING if cached else COMPILING_AGAIN]


def test_bars_on_a_terminal(text, out, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["train", text, "-o", out, *SMALL]) == 0
    shown = capsys.readouterr().err
    assert "Training" in shown
    assert "epoch 2/2" in shown
    assert "loss" in shown
    assert "words/s" in shown


def test_lines_on_a_dumb_terminal(text, out, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    assert main(["train", text, "-o", out, *SMALL]) == 0
    shown = capsys.readouterr().err
    assert "Epoch 2 of 2" in shown
    assert "\x1b" not in shown


def test_warmup_compiles_for_layers():
    """In one thread for all rules, and then in two for one: each rule's kernel for threads takes seconds to compile."""
    code = (
        "import importlib, json\n"
        "from fastemb import num_threads\n"
        "from fastemb.cli import main\n"
        "from fastemb.engine import parallel\n"
        "from fastemb.engine.backend import kernels\n"
        "parallel._congestion.is_passing = lambda now: False\n"
        "names = [('lookup', 'lookup'), ('bags', 'reduce'), ('grouping', 'group'), ('updates', 'step')]\n"
        "def count(kind):\n"
        "    return [len(getattr(kernels('cpu', module), kind + name).signatures) for module, name in names]\n"
        "with num_threads(1):\n"
        "    assert main(['warmup', '-q']) == 0\n"
        "alone = count('')\n"
        "importlib.import_module('fastemb.cli.warmup').OPTIMIZERS = ('Adagrad',)\n"
        "with num_threads(2):\n"
        "    assert main(['warmup', '-q']) == 0\n"
        "print(json.dumps([alone, count('parallel_')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (lookups, bags, groups, steps), of_threads = json.loads(done.stdout)
    assert lookups >= 1 and bags >= 1 and groups >= 1 and steps >= 8  # four rules, of rows and of bags
    assert min(of_threads) >= 1 and of_threads[-1] == 2


def test_warmup(capsys):
    with num_threads(1):
        assert main(["warmup"]) == 0
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Ready" in captured.err
        assert main(["warmup", "--json", "-q"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out)["seconds"] > 0


def test_bench_passes_its_options_on(monkeypatch, tmp_path, capsys):
    from fastemb.bench import tables, training

    asked, original = {}, training.run

    def run(corpus, **options):
        asked.update(options, corpus=corpus)
        options["log"]("a run")
        return {"measures": {}}

    monkeypatch.setattr(training, "run", run)
    monkeypatch.setattr(tables, "render", lambda results: "a table")
    argv = ["bench", "training", "--corpus", "text.txt", "--peers", "gensim", "--pairs", "a", "--pairs", "b"]
    assert main(argv) == 0
    assert capsys.readouterr() == ("a table\n", "a run\n")
    assert (asked["corpus"], asked["peers"], asked["pairs"], asked["what"]) == (
        "text.txt",
        ["gensim"],
        ["a", "b"],
        ["speed"],
    )
    defaults = {name: item.default for name, item in inspect.signature(original).parameters.items()}
    given = {name: asked[name] for name in ("vector_size", "epochs", "seeds", "repeats", "threads", "alpha", "quick")}
    assert given == {name: defaults[name] for name in given}
    assert main([*argv, "--json", "-q", "--what", "all"]) == 0
    assert json.loads(capsys.readouterr().out) == {"measures": {}}
    assert asked["what"] == "all"
