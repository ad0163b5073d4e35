"""`fastemb.fasttext` beside the ``fasttext`` package: the same names, and the same answers from the same files."""

import inspect

import numpy as np
import pytest

import fastemb.fasttext as ours
from fastemb import FastTextClassifier

LABELLED = ["__label__a the cat sat", "__label__b a dog ran", "__label__a __label__b cats naïve 東京"] * 40
LINES = ["the cat", "dogs ran naïvely", "", "unseen", "東京 a </s> the"]
WORDS = ["cat", "catz", "the", "naïve", "東京", "🙂", "</s>", "x"]
LEFT_OUT = {
    "f": "the program's own object",
    "set_args": "how the package works inside",
    "set_matrices": "assigned numbers go into vectors._table and classifier",
    "get_meter": "precision and recall curves: scikit-learn draws them from classifier.predict_proba",
    "cbow": "given up: raises an error",
    "skipgram": "given up: raises an error",
    "supervised": "given up: raises an error",
    "read_args": "how the package works inside",
    "unsupervised_default": "how the package works inside",
    "displayed_errors": "how the package works inside",
    "model_name": "how the package works inside",
    "loss_name": "how the package works inside",
    "eprint": "how the package works inside",
}


@pytest.fixture(scope="module")
def fasttext():
    return pytest.importorskip("fasttext", reason="fasttext is not installed")


@pytest.fixture(scope="module")
def folder(fasttext, tmp_path_factory):
    """Return the folder of the package's own models."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "text").write_text("\n".join(LABELLED) + "\n", encoding="utf-8")
    # With fewer threads fastText leaves rows as they were in memory, which may be NaN.
    how = {"dim": 4, "epoch": 3, "bucket": 300, "thread": 12, "verbose": 0, "lr": 0.5}
    text = str(folder / "text")
    model = fasttext.train_supervised(text, minn=2, maxn=3, wordNgrams=2, **how)
    model.save_model(str(folder / "classifier"))
    model.quantize(qnorm=True)
    model.save_model(str(folder / "quantized"))
    fasttext.train_supervised(text, loss="ova", **how).save_model(str(folder / "ova"))
    (folder / "plain").write_text("\n".join(line.split(" ", 1)[1] for line in LABELLED[:2] * 40), encoding="utf-8")
    fasttext.train_unsupervised(str(folder / "plain"), minCount=1, minn=2, maxn=3, **how).save_model(
        str(folder / "vectors")
    )
    return folder


def test_every_name_is_here_or_left_out(fasttext):
    for theirs, mine in ((fasttext, ours), (fasttext.FastText._FastText, ours.Model)):
        names = {
            name for name in dir(theirs) if not name.startswith("_") and not inspect.ismodule(getattr(theirs, name))
        }
        missing = {name for name in names - LEFT_OUT.keys() if not hasattr(mine, name)}
        assert missing <= {"absolute_import", "division", "print_function", "unicode_literals"}
        for name in names - LEFT_OUT.keys() - missing:
            function = getattr(theirs, name)
            if inspect.isfunction(function) and not name.startswith("train"):
                accepted = inspect.signature(getattr(mine, name)).parameters
                assert list(inspect.signature(function).parameters) == [
                    one for one, how in accepted.items() if how.kind != how.KEYWORD_ONLY
                ]


def test_the_inner_module_has_its_name(folder, monkeypatch, capsys):
    monkeypatch.setattr(ours.FastText, "eprint", lambda text: None)  # as scripts do to keep the package quiet
    assert ours.FastText.load_model(str(folder / "vectors")).words
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["classifier", "quantized", "ova", "vectors"])
def test_same_answers(fasttext, folder, name):
    theirs, mine = (package.load_model(str(folder / name)) for package in (fasttext, ours))
    assert mine.words == theirs.words
    assert mine.labels == theirs.labels
    for method in ("get_words", "get_labels"):
        assert getattr(mine, method)() == getattr(theirs, method)()
        for one, other in zip(*(getattr(model, method)(include_freq=True) for model in (mine, theirs)), strict=True):
            assert list(one) == list(other)
    assert (mine.is_quantized(), mine.get_dimension()) == (theirs.is_quantized(), theirs.get_dimension())
    for word in WORDS:
        np.testing.assert_allclose(mine.get_word_vector(word), theirs.get_word_vector(word), atol=1e-6)
        np.testing.assert_allclose(mine[word], theirs[word], atol=1e-6)
        assert mine.get_word_id(word) == theirs.get_word_id(word)
        assert (word in mine) == (word in theirs)
        (parts, rows), (their_parts, their_rows) = mine.get_subwords(word), theirs.get_subwords(word)
        assert parts == their_parts
        assert rows.tolist() == their_rows.tolist()
        for row in rows.tolist():
            np.testing.assert_allclose(mine.get_input_vector(row), theirs.get_input_vector(row), atol=1e-6)
    if name != "ova":
        assert mine.get_subword_id("<c") == theirs.get_subword_id("<c")
    for label in ("__label__a", "__label__z"):
        assert mine.get_label_id(label) == theirs.get_label_id(label)
    for line in LINES:
        np.testing.assert_allclose(mine.get_sentence_vector(line), theirs.get_sentence_vector(line), atol=1e-6)
    for ask in ("get_nearest_neighbors", "get_analogies"):
        words = ["cat"] if ask == "get_nearest_neighbors" else ["cat", "the", "dog"]
        found, wanted = (getattr(model, ask)(*words, k=4) for model in (mine, theirs))
        np.testing.assert_allclose([score for score, _ in found], [score for score, _ in wanted], atol=1e-5)
        assert [word for _, word in found] == [word for _, word in wanted]
    if name == "quantized":
        for method in ("get_input_matrix", "get_output_matrix"):
            with pytest.raises(ValueError, match="quantized"):
                getattr(mine, method)()
    else:
        np.testing.assert_allclose(mine.get_input_matrix(), theirs.get_input_matrix(), atol=1e-7)
        np.testing.assert_allclose(mine.get_output_matrix(), theirs.get_output_matrix(), atol=1e-7)


@pytest.mark.parametrize("name", ["classifier", "quantized", "ova"])
def test_same_predictions(fasttext, folder, name):
    theirs, mine = (package.load_model(str(folder / name)) for package in (fasttext, ours))
    lines = [line for line in LINES if line]
    for options in ({}, {"k": 2}, {"k": -1}, {"k": 2, "threshold": 0.4}):
        (labels, chances), (their_labels, their_chances) = (m.predict(lines, **options) for m in (mine, theirs))
        assert labels == their_labels
        for one, other in zip(chances, their_chances, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-5)
        one = mine.predict(lines[0], **options)
        assert one[0] == tuple(labels[0])
        np.testing.assert_allclose(one[1], chances[0])
    text = str(folder / "text")
    assert mine.test(text) == pytest.approx(theirs.test(text))
    assert mine.test(text, k=2) == pytest.approx(theirs.test(text, k=2))
    found, wanted = mine.test_label(text), theirs.test_label(text)
    assert found.keys() == wanted.keys()
    for label, measures in wanted.items():
        assert found[label] == pytest.approx(measures)
    for line in (*LABELLED[:3], "__label__z a"):
        assert mine.get_line(line) == theirs.get_line(line)
    assert mine.get_line(LINES) == theirs.get_line(LINES)


def test_files_go_both_ways(fasttext, folder, tmp_path):
    for name in ("classifier", "quantized", "ova", "vectors"):
        path = str(tmp_path / name)
        ours.load_model(folder / name).save_model(path)
        theirs = fasttext.load_model(path)
        np.testing.assert_allclose(theirs["catz"], ours.load_model(folder / name)["catz"], atol=1e-6)
        assert theirs.labels == fasttext.load_model(str(folder / name)).labels


def test_training(fasttext, folder, tmp_path):
    text, path = str(folder / "text"), str(tmp_path / "model")
    how = {"dim": 8, "epoch": 5, "bucket": 300, "thread": 1}
    model = ours.train_supervised(input=text, lr=0.5, label_prefix="__label__", word_ngrams=2, minn=2, maxn=3, **how)
    model.save_model(path)
    assert fasttext.load_model(path).test(text)[1] == model.test(text)[1] > 0.9
    model.quantize(input=text, qnorm=True, retrain=True, cutoff=260, epoch=1)
    assert model.is_quantized()
    model.save_model(path)
    assert fasttext.load_model(path).is_quantized()
    with pytest.raises(ValueError, match="retrain needs input"):
        model.quantize(retrain=True)
    for loss in ("ns", "hs"):
        vectors = ours.train_unsupervised(text, "cbow", minCount=1, loss=loss, t=1, **how)
        vectors.save_model(path)
        np.testing.assert_allclose(fasttext.load_model(path)["catz"], vectors["catz"], atol=1e-6)
        assert vectors.get_output_matrix().shape[1] == 8


def test_autotune(folder, monkeypatch):
    text, autotune, asked = str(folder / "text"), FastTextClassifier.autotune, []

    def some_trials(*texts, seconds, **options):  # whatever a busy machine gets done in a time
        asked.append(seconds)
        return autotune(*texts, trials=3, **options)

    monkeypatch.setattr(FastTextClassifier, "autotune", some_trials)
    best = ours.train_supervised(text, dim=8, thread=1, autotuneValidationFile=text, autotuneDuration=2)
    assert asked == [2] and best.test(text)[1] > 0.9
    assert best.get_dimension() == 8


def test_errors(folder):
    vectors, classifier = ours.load_model(folder / "vectors"), ours.load_model(folder / "classifier")
    for call in (lambda: vectors.predict("a"), lambda: vectors.test("text"), vectors.quantize):
        with pytest.raises(ValueError, match="must be supervised"):
            call()
    for call in (classifier.predict, classifier.get_sentence_vector, vectors.get_sentence_vector, classifier.get_line):
        with pytest.raises(ValueError, match="one line at a time"):
            call("a\nb")
    with pytest.raises(TypeError, match="predict takes a str"):
        classifier.predict([3])
    with pytest.raises(IndexError, match=r"ind must be in \[0, \d+\), got 99999"):
        vectors.get_input_vector(99999)
    with pytest.raises(TypeError, match=r"has no argument 'epochs'; did you mean epoch\?"):
        ours.train_supervised("text", epochs=3)
    with pytest.raises(ValueError, match="loss must be"):
        ours.train_unsupervised("text", loss="softmax")


def test_tokenize(fasttext):
    for text in ("a b\nc  d", "", "\n", "a\n\nb", "naïve 東京\t</s> x\n"):
        assert ours.tokenize(text) == fasttext.tokenize(text)
