"""FastTextClassifier: what it learns, takes, refuses and keeps."""

import copy
import itertools
import json
import pickle
import warnings

import numpy as np
import pytest

from fastemb import FastTextClassifier, KeyedVectors, Phrases
from fastemb.trainers.classification.measures import Measure
from fastemb.trainers.classification.quantizing import rows_that_fit
from fastemb.trainers.schedule import Monitor

TOPICS = {"tea": "cup pot leaf milk", "train": "late ticket platform bus", "rain": "wet cloud umbrella storm"}
OPTIONS = {"vector_size": 12, "lr": 0.5, "epochs": 6, "workers": 1}


def sample(num_texts=240, seed=0):
    """Texts about three topics, with words that all of them share."""
    random = np.random.default_rng(seed)
    labels = random.choice(list(TOPICS), num_texts).tolist()
    texts = [" ".join(["the", *random.choice(TOPICS[label].split(), 3), "of", "it"]) for label in labels]
    return texts, labels


TEXTS, LABELS = sample()


@pytest.fixture(scope="module")
def classifier():
    return FastTextClassifier(**OPTIONS).fit(TEXTS, LABELS)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("".join(f"{t} __label__{label}\n" for t, label in zip(TEXTS, LABELS, strict=True)) + "\n")
    return path


@pytest.mark.parametrize("loss", ["softmax", "ova", "hs", "ns"])
@pytest.mark.parametrize(
    "options", [{}, {"word_ngrams": 2, "bucket": 500}, {"min_n": 2, "max_n": 3, "bucket": 500}], ids=str
)
def test_every_loss_learns_and_repeats(loss, options):
    first, again = (FastTextClassifier(**OPTIONS, loss=loss, **options).fit(TEXTS, LABELS) for _ in range(2))
    assert first.score(*sample(seed=1)) > 0.95
    assert first.losses[-1] < first.losses[0]
    np.testing.assert_array_equal(first.predict_proba(TEXTS), again.predict_proba(TEXTS))


def test_several_threads_learn_the_same(classifier):
    two = FastTextClassifier(**{**OPTIONS, "workers": 2}).fit(TEXTS, LABELS)
    assert two.score(*sample(seed=1)) == classifier.score(*sample(seed=1)) == 1.0


def test_a_file_and_lists_are_the_same(classifier, file):
    other = FastTextClassifier(**OPTIONS).fit(corpus_file=file)
    assert set(other.classes_) == set(TOPICS)
    np.testing.assert_allclose(other.predict_proba(TEXTS), classifier.predict_proba(TEXTS), rtol=1e-4)
    tagged = [f"__label__{label} {text}" for text, label in zip(TEXTS, LABELS, strict=True)]
    third = FastTextClassifier(**OPTIONS).fit(tagged)
    assert third.predict(TEXTS[:20]).tolist() == LABELS[:20]
    assert third.predict(tagged[:20]).tolist() == LABELS[:20]  # labels are no features


@pytest.mark.parametrize("options", [{}, {"word_ngrams": 2, "max_n": 3, "bucket": 500}], ids=str)
@pytest.mark.parametrize("is_phrased", [False, True])
def test_a_text_beyond_the_memory_trains_the_same(options, is_phrased, file):
    phrases = Phrases([text.split() for text in TEXTS], min_count=1, threshold=0.1) if is_phrased else None
    options = {**OPTIONS, **options, "phrases": phrases}
    within, beyond = (FastTextClassifier(**options, max_memory=size).fit(corpus_file=file) for size in ("1M", 0))
    np.testing.assert_array_equal(beyond.predict_proba(TEXTS), within.predict_proba(TEXTS))
    assert beyond.test(corpus_file=file) == within.test(corpus_file=file)
    text = beyond._read(None, None, file, Monitor(beyond, ()))
    bags = text.bags(beyond._trained.features, 2)
    on_disk = text.lines.numbers, text.lines.ends, bags.features, bags.offsets, bags.labels, bags.label_offsets
    assert all(isinstance(array, np.memmap) for array in on_disk)


@pytest.mark.parametrize("kind", ["numpy", "pandas", "pyarrow"])
def test_columns(kind, classifier):
    module = pytest.importorskip(kind)
    column = {"numpy": "array", "pandas": "Series", "pyarrow": "array"}[kind]
    X, y = (getattr(module, column)(values) for values in (TEXTS, LABELS))
    other = FastTextClassifier(**OPTIONS).fit(X, y)
    assert other.predict(X).tolist() == classifier.predict(TEXTS).tolist() == LABELS
    assert other.score(X, y) == 1.0


@pytest.mark.parametrize("labels", [[0, 1], [True, False], [1.5, -2.0]])
def test_labels_keep_their_type(labels, tmp_path):
    y = [labels[label == "tea"] for label in LABELS]
    model = FastTextClassifier(**OPTIONS).fit(TEXTS, y)
    assert model.classes_.tolist() == sorted(labels)
    assert model.predict(TEXTS[:9]).tolist() == y[:9]
    model.save(tmp_path / "a.safetensors")
    assert FastTextClassifier.load(tmp_path / "a.safetensors").predict(TEXTS[:9]).tolist() == y[:9]


def test_predictions_agree_with_each_other(classifier):
    probabilities = classifier.predict_proba(TEXTS)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert classifier.classes_.tolist() == sorted(TOPICS)
    best = classifier.classes_[probabilities.argmax(axis=1)]
    assert best.tolist() == classifier.predict(TEXTS).tolist()
    assert classifier.classes_[classifier.decision_function(TEXTS).argmax(axis=1)].tolist() == best.tolist()
    for row, wanted in zip(classifier.top_labels(TEXTS[:5], k=-1), probabilities, strict=False):
        assert [p for _, p in row] == sorted((p for _, p in row), reverse=True)
        np.testing.assert_allclose([dict(row)[label] for label in classifier.classes_], wanted, rtol=1e-5)
    assert classifier.predict(["cup of milk"], k=3, threshold=0.9) == [["tea"]]
    assert classifier.predict([]).tolist() == [] and classifier.predict_proba([]).shape == (0, 3)
    assert classifier.transform([]).shape == (0, 12)


def test_a_text_of_unknown_words_and_none_at_all(classifier):
    assert classifier.predict(["zzz", "", "zzz\nzzz"]).shape == (3,)
    np.testing.assert_array_equal(classifier.get_sentence_vector("zzz"), classifier.wv["</s>"])


def test_several_labels_a_text():
    texts = ["cup ticket", "cup", "ticket", "storm"] * 60
    y = [["tea", "train"], ["tea"], ["train"], []] * 60
    with pytest.warns(UserWarning, match=r"60 texts have no label and are left out; the first is line 4, 'storm'"):
        model = FastTextClassifier(**{**OPTIONS, "epochs": 20}, loss="ova").fit(texts, y)
    assert [sorted(row) for row in model.predict(texts[:3], k=-1, threshold=0.5)] == [
        ["tea", "train"],
        ["tea"],
        ["train"],
    ]
    report = model.test(texts, y, k=2, threshold=0.5)
    assert (report.num_texts, report.precision, report.recall, report.f1) == (180, 1.0, 1.0, 1.0)
    assert report.labels["tea"] == Measure(120, 120, 120)
    assert model.score(texts[:3], y[:3]) == 1.0


def test_measures(classifier, file):
    report = classifier.test(corpus_file=file)
    assert report.num_texts == len(TEXTS) and report.precision == report.recall == 1.0
    wrong = classifier.test(["cup", "ticket", "storm"], ["tea", "tea", "unknown"])
    assert wrong.num_texts == 2 and wrong.precision == wrong.recall == 0.5
    assert wrong.labels["train"] == Measure(0, 1, 0)
    assert wrong.labels["tea"].precision == 1.0 and wrong.labels["tea"].recall == 0.5


def test_starting_vectors(tmp_path):
    """Of the text's features they are random, and all others are 0; fastText's are shorter, and all are random."""
    options = {**OPTIONS, "epochs": 1, "lr": 1e-9, "word_ngrams": 2, "bucket": 3000}
    rows, num_words = {}, 0
    for compat in (None, "fasttext"):
        model = FastTextClassifier(**options, compat=compat).fit(TEXTS[:20], LABELS[:20])
        model.save(tmp_path / "a.bin")
        table, num_words = KeyedVectors.load(tmp_path / "a.bin"), len(model.wv)
        rows[compat] = np.concatenate([table.vectors_vocab, table.vectors_ngrams])
    size = rows[None].shape[1]
    used = rows[None].any(axis=1)
    pairs = {pair for text in TEXTS[:20] for pair in itertools.pairwise([*text.split(), "</s>"])}
    assert used[:num_words].all() and 0.9 * len(pairs) <= used[num_words:].sum() <= len(pairs)
    assert 0.95 < abs(rows[None]).max() * size**0.5 < 1.001
    assert rows["fasttext"].any(axis=1).all() and 0.95 < abs(rows["fasttext"]).max() * size < 1.001


def test_rare_words_and_labels_are_left_out():
    texts, labels = [*TEXTS, "rare words", "cup"], [*LABELS, "tea", "odd"]
    with pytest.warns(UserWarning, match="1 texts have no label"):
        model = FastTextClassifier(**OPTIONS, min_count=5, min_count_label=2).fit(texts, labels)
    assert "rare" not in model.wv and "odd" not in model.classes_


def test_pretrained_vectors(tmp_path):
    vectors = KeyedVectors.from_words(["cup", "mug"], np.full((2, 7), 0.5, np.float32))
    vectors.save(tmp_path / "vectors.txt")
    for given in (vectors, tmp_path / "vectors.txt"):
        model = FastTextClassifier(epochs=1, lr=1e-9, workers=1, pretrained_vectors=given).fit(TEXTS, LABELS)
        assert model.wv.vector_size == 7
        np.testing.assert_allclose(model.wv["mug"], 0.5)
        np.testing.assert_allclose(model.wv["cup"], 0.5, atol=1e-4)
    with pytest.raises(ValueError, match="vector_size is 12, and the pretrained vectors have 7 numbers"):
        FastTextClassifier(vector_size=12, pretrained_vectors=vectors).fit(TEXTS, LABELS)


def test_saving(classifier, tmp_path):
    classifier.save(tmp_path / "a.safetensors")
    again = FastTextClassifier.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert again.losses == classifier.losses and again.get_params() == classifier.get_params()
    assert KeyedVectors.load(tmp_path / "a.safetensors")["cup"].tolist() == classifier.wv["cup"].tolist()
    with pytest.raises(ValueError, match="path must end in"):
        classifier.save(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"a \.ftz is a quantized classifier"):
        classifier.save(tmp_path / "a.ftz")
    classifier.wv.save(tmp_path / "words.safetensors")
    with pytest.raises(ValueError, match="not a classifier"):
        FastTextClassifier.load(tmp_path / "words.safetensors")


@pytest.fixture(scope="module")
def wide():
    """A classifier with enough rows to be quantized."""
    texts = [f"{text} n{i}" for i, text in enumerate(TEXTS)]
    return texts, FastTextClassifier(**OPTIONS, word_ngrams=2, bucket=2000).fit(texts, LABELS)


@pytest.mark.parametrize("options", [{}, {"qnorm": True, "dsub": 3}, {"cutoff": 300}], ids=str)
def test_quantizing(wide, tmp_path, options):
    texts, trained = wide
    trained.save(tmp_path / "a.safetensors")
    model = FastTextClassifier.load(tmp_path / "a.safetensors")
    before = model.nbytes
    retrain = {"X": texts, "y": LABELS, "retrain": True, "epochs": 2} if "cutoff" in options else {}
    model.quantize(**options, **retrain)
    assert model.nbytes < before / 4 * 3
    assert model.score(texts, LABELS) > 0.95
    model.save(tmp_path / "b.safetensors")
    again = FastTextClassifier.load(tmp_path / "b.safetensors")
    np.testing.assert_array_equal(again.predict_proba(texts), model.predict_proba(texts))
    with pytest.raises(RuntimeError, match="quantized already"):
        again.quantize()


def test_what_cannot_be_quantized(classifier):
    with pytest.raises(ValueError, match="must have 256 words and n-grams to be quantized, got"):
        classifier.quantize()
    with pytest.raises(TypeError, match="retrain goes with a text"):
        FastTextClassifier(**OPTIONS).fit([f"w{i} x" for i in range(300)], ["a", "b"] * 150).quantize(retrain=True)


def test_autotune_repeats_and_finds():
    fixed = {"workers": 1, "vector_size": 8, "word_ngrams": 1, "max_n": 0, "bucket": 10}
    runs = [FastTextClassifier.autotune((TEXTS, LABELS), sample(60, 1), trials=4, **fixed) for _ in range(2)]
    assert [trial.parameters for trial in runs[0].trials_] == [trial.parameters for trial in runs[1].trials_]
    assert len(runs[0].trials_) == 4
    best = max(trial.score for trial in runs[0].trials_)
    assert runs[0].test(*sample(60, 1)).f1 == best
    for metric in ("f1:tea", "precisionAtRecall:50", "recallAtPrecision:50:rain"):
        assert (
            0
            <= FastTextClassifier.autotune((TEXTS, LABELS), sample(9, 1), trials=1, metric=metric, **fixed)
            .trials_[0]
            .score
            <= 1
        )
    with pytest.raises(ValueError, match="metric must be"):
        FastTextClassifier.autotune((TEXTS, LABELS), sample(9, 1), metric="accuracy")
    with pytest.raises(RuntimeError, match="no time to train once"):
        FastTextClassifier.autotune((TEXTS, LABELS), sample(9, 1), seconds=1e-9)


def test_ctrl_c_ends_a_search_with_the_best():
    class Impatient:
        trials = 0

        def on_trial_end(self, classifier, trial):
            self.trials += 1
            if self.trials == 2:
                raise KeyboardInterrupt

    fixed = {"workers": 1, "vector_size": 8, "word_ngrams": 1, "max_n": 0}
    with pytest.warns(UserWarning, match="Ctrl-C ended the search: this is the best of 2 models"):
        best = FastTextClassifier.autotune((TEXTS, LABELS), sample(60, 1), callbacks=[Impatient()], **fixed)
    assert best.interrupted_ and len(best.trials_) == 2
    assert best.test(*sample(60, 1)).f1 == max(trial.score for trial in best.trials_)


def test_autotune_within_a_size(tmp_path):
    texts = [f"{text} n{i}" for i, text in enumerate(TEXTS)] * 2
    fixed = {"workers": 1, "vector_size": 8, "word_ngrams": 2, "max_n": 0, "bucket": 4000, "lr": 0.5}
    sizes = []
    for size in (16_000, 18_000):
        best = FastTextClassifier.autotune((texts, LABELS * 2), sample(60, 1), trials=2, model_size=size, **fixed)
        best.save(tmp_path / "a.ftz")
        sizes.append((tmp_path / "a.ftz").stat().st_size)
        # Another row would not have fitted.
        assert size - 40 < sizes[-1] <= size and best.test(*sample(60, 1)).f1 > 0.9
    assert {"dsub", "epochs"} == set(best.trials_[0].parameters)
    with pytest.raises(RuntimeError, match="every trial failed: a file of 12,288 bytes has room for"):
        FastTextClassifier.autotune((texts, LABELS * 2), sample(9, 1), trials=1, model_size="12K", **fixed)


@pytest.mark.parametrize(("cutoff", "qnorm", "qout"), [(300, False, False), (500, True, False), (300, True, True)])
def test_the_bytes_of_a_quantized_file(tmp_path, cutoff, qnorm, qout):
    """What is computed is what is written, to the byte."""
    texts = [f"wort{i} größe{i % 7} x" for i in range(600)]
    labels = [f"l{i % 300}" for i in range(600)]
    model = FastTextClassifier(vector_size=6, epochs=1, word_ngrams=2, bucket=900).fit(texts, labels)
    whole = model._trained
    model.quantize(cutoff=cutoff, qnorm=qnorm, qout=qout, dsub=4)
    model.save(tmp_path / "a.ftz")
    size = (tmp_path / "a.ftz").stat().st_size
    assert rows_that_fit(whole, size, 4, qnorm, qout) == cutoff
    assert rows_that_fit(whole, size - 1, 4, qnorm, qout) == cutoff - 1


def test_phrases_are_joined(tmp_path):
    """Only the phrase tells the labels apart, in a text to learn from and in one to predict."""
    texts = ["a new york b", "a york new b", "c new york", "york c new"] * 20
    labels = ["city", "words"] * 40
    phrases = Phrases([["in", "new", "york"], ["new", "york"]], min_count=1, threshold=0.1)
    lines = [f"__label__{label} {text}\n" for text, label in zip(texts, labels, strict=True)]
    (tmp_path / "a.txt").write_text("".join(lines))
    model = FastTextClassifier(**OPTIONS, phrases=phrases).fit(corpus_file=tmp_path / "a.txt")
    assert model.score(texts, labels) == 1 and model.test(corpus_file=tmp_path / "a.txt").precision == 1
    assert "new_york" in model.wv and model.wv.get_vecattr("new_york", "count") == 40
    model.save(tmp_path / "a.safetensors")
    again = FastTextClassifier.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again.predict_proba(texts), model.predict_proba(texts))
    with pytest.warns(UserWarning, match="cannot hold the phrases"):
        model.save(tmp_path / "a.bin")
    assert FastTextClassifier(**OPTIONS).fit(texts, labels).score(texts, labels) < 0.8


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        (["a"], ["x", "y"], ValueError, r"y must have one item for each of the 1 texts, got 2"),
        (["a", "b"], ["x", None], TypeError, r"got None at position 1"),
        (["a", "b"], ["x", float("nan")], ValueError, r"got nan at position 1"),
        (["a", "b"], ["x", ""], ValueError, r"labels must have characters and no NUL, got '' at position 1"),
        (["a", "b"], ["x", 1], TypeError, r"labels must be of one type, got int, str"),
        (["a", 3], ["x", "y"], TypeError, r"texts must be str, got 3 at position 1"),
        ("train.txt", None, TypeError, r"a file's name goes into corpus_file="),
        (None, None, TypeError, r"one of X and corpus_file must be given, got neither"),
        (["one two"], None, ValueError, r"no text has a label \(.*'__label__'\).*line 1, 'one two'"),
        (["ok __label__x", "bad __label__"], None, ValueError, r"'__label__' must be followed by .* line 2"),
        ([], [], ValueError, r"there are no texts"),
        (np.array([["a"]]), ["x"], ValueError, r"X must have one dimension, got shape \(1, 1\)"),
    ],
)  # fmt: skip
def test_what_is_refused(X, y, error, message):
    with pytest.raises(error, match=message):
        FastTextClassifier(**OPTIONS).fit(X, y)


@pytest.mark.parametrize(
    ("name", "value"),
    [("loss", "hinge"), ("lr", 0), ("epochs", 0), ("word_ngrams", 0), ("bucket", 0), ("label_prefix", ""),
     ("compat", "x"), ("vector_size", 0), ("seed", -1), ("workers", 0), ("max_memory", "much"), ("max_memory", -1)],
)  # fmt: skip
def test_arguments_out_of_bounds(name, value):
    with pytest.raises(ValueError, match=name):
        FastTextClassifier(**{name: value})
    with pytest.raises(ValueError, match=name):
        FastTextClassifier().set_params(**{name: value})


def test_an_absurd_rate_is_told():
    with pytest.raises(FloatingPointError, match="try a lower lr"):
        FastTextClassifier(vector_size=4, lr=1e30, epochs=20, workers=1).fit(TEXTS, LABELS)


def test_an_untrained_classifier():
    with pytest.raises(RuntimeError, match="not trained yet"):
        FastTextClassifier().predict(["a"])


def test_a_copy_predicts_the_same(classifier):
    expected = classifier.predict_proba(TEXTS)
    for again in (pickle.loads(pickle.dumps(classifier)), copy.deepcopy(classifier)):
        np.testing.assert_array_equal(again.predict_proba(TEXTS), expected)
    other = FastTextClassifier(**OPTIONS, word_ngrams=2, bucket=5000)
    other.fit([f"{text} n{i}" for i, text in enumerate(TEXTS)], LABELS).quantize(cutoff=300)
    expected = other.predict_proba(TEXTS)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(other)).predict_proba(TEXTS), expected)


def test_callbacks():
    class Watch:
        def __init__(self):
            self.events = []

        def on_progress(self, model, progress):
            self.events.append(progress.stage)

        def on_epoch_end(self, model):
            self.events.append(len(model.losses))

    watch = Watch()
    FastTextClassifier(**{**OPTIONS, "epochs": 3}, callbacks=[watch]).fit(TEXTS, LABELS)
    assert [event for event in watch.events if isinstance(event, int)] == [1, 2, 3]
    assert {"scanning", "training"} <= set(watch.events)


def test_damaged_files(classifier, tmp_path):
    """A file whose header says something else is told as damaged, never read wrongly."""
    path = tmp_path / "a.safetensors"
    classifier.save(path)
    data = path.read_bytes()
    for old, new in ((b'\\"bucket\\": 0', b'\\"bucket\\": 9'), (b'\\"loss\\": \\"softmax', b'\\"loss\\": \\"softmix')):
        assert old in data
        path.write_bytes(data.replace(old, new))
        with pytest.raises(ValueError, match="damaged"):
            FastTextClassifier.load(path)


def test_scikit_learn():
    sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    copy = sklearn.clone(FastTextClassifier(**OPTIONS, callbacks=()))
    assert copy.get_params() == FastTextClassifier(**OPTIONS).get_params()
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = make_pipeline(lower, FastTextClassifier(**OPTIONS)).fit(TEXTS, LABELS)
        assert pipeline.score(TEXTS, LABELS) == 1.0
        search = GridSearchCV(FastTextClassifier(**OPTIONS), {"lr": [1e-6, 0.5]}, cv=2).fit(TEXTS, LABELS)
        assert search.best_params_ == {"lr": 0.5}
        scores = cross_val_score(FastTextClassifier(**OPTIONS), TEXTS, LABELS, cv=2, scoring="neg_log_loss")
        assert scores.min() > -0.7


class TestCommands:
    @pytest.fixture
    def run(self, capsys, monkeypatch):
        from fastemb.cli import main

        def run(*words, stdin=None):
            if stdin is not None:
                import io

                monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            code = main(["classify", *map(str, words)])
            return code, capsys.readouterr()

        return run

    def test_train_predict_test(self, run, file, tmp_path):
        model = tmp_path / "model.bin"
        code, told = run("train", file, "-o", model, "--lr", 0.5, "--vector-size", 12, "--workers", 1, "--json")
        assert code == 0 and json.loads(told.out)["labels"] == 3, told.err
        code, told = run("predict", model, "-", stdin="cup of milk\nlate bus\n")
        assert told.out.split() == ["__label__tea", "__label__train"]
        code, told = run("predict", model, file, "-k", 2, "-p", "--label-prefix", "__label__")
        assert len(told.out.splitlines()) == len(TEXTS) + 1 and len(told.out.splitlines()[0].split()) == 4
        code, told = run("predict", model, "-", "--json", stdin="cup\n")
        assert json.loads(told.out)[0]["label"] == "tea"
        code, told = run("test", model, file, "--labels")
        assert "P@1  1.0000" in told.out and "umbrella" not in told.out and "train" in told.out
        code, told = run("test", model, file, "--json")
        assert json.loads(told.out)["precision"] == 1.0

    def test_quantize_and_autotune(self, run, wide, tmp_path):
        texts, _ = wide
        file = tmp_path / "train.txt"
        file.write_text("".join(f"__label__{label} {text}\n" for text, label in zip(texts, LABELS, strict=True)))
        model, small = tmp_path / "model.safetensors", tmp_path / "model.ftz"
        run("train", file, "-o", model, "--lr", 0.5, "--vector-size", 12, "--workers", 1)
        code, told = run("quantize", model, "-o", small, "--text", file, "--qnorm", "--json")
        found = json.loads(told.out)
        assert code == 0 and found["precision"] > 0.95
        assert found["bytes_before"] == 4 * 12 * (found["words"] + found["labels"])
        assert "times smaller" in told.err
        assert run("quantize", model, "-o", small, "--retrain")[0] == 2
        code, told = run("autotune", file, file, "-o", model, "--trials", 1, "--workers", 1, "--json")
        assert code == 0 and json.loads(told.out)["trials"] == 1
        sized = ["--trials", 1, "--workers", 1, "--model-size", "200K"]
        assert run("autotune", file, file, "-o", small, *sized)[0] == 0 and small.stat().st_size <= 200 << 10
        assert run("autotune", file, file, "-o", tmp_path / "a.bin", *sized)[0] == 2

    def test_a_name_that_cannot_be_saved_is_refused_before_the_work(self, run, tmp_path):
        missing = tmp_path / "missing"
        for words, wanted in (
            (["train", missing, "-o", "model.ftz"], "'model.ftz'; classify quantize writes .ftz"),
            (["autotune", missing, missing, "-o", "model"], "must end in .safetensors or .bin, got 'model'"),
            (["quantize", missing, "-o", "model.bin"], "must end in .safetensors or .ftz, got 'model.bin'"),
        ):
            code, told = run(*words)
            assert code == 2 and wanted in told.err

    def test_errors_are_one_line(self, run, file, tmp_path):
        code, told = run("predict", file)
        assert code == 1 and told.err.startswith("fastemb: ") and len(told.err.splitlines()) == 1
