"""Phrases: gensim's counts, scores and joining; word2phrase's; several passes; files of models."""

import copy
import gzip
import json
import math
import pickle
import subprocess
import sys
import warnings
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastemb
from fastemb import ENGLISH_CONNECTOR_WORDS, FrozenPhrases, Phraser, Phrases
from fastemb.corpus import joining, terms
from fastemb.corpus.joining import text_blocks
from fastemb.corpus.phrased import PhrasedSentences
from fastemb.corpus.reader import read_corpus
from fastemb.trainers.phrasing import read_words

PROPERTY = settings(max_examples=60, derandomize=True, deadline=None)


@pytest.fixture(scope="module")
def gensim_phrases():
    module = pytest.importorskip("gensim.models.phrases", reason="gensim is not installed")
    return module


@pytest.fixture(scope="module")
def lines(data):
    """Natural text: 1200 lines, 70,000 words."""
    with gzip.open(data / "text" / "enwiki2015.AA.lines.txt.gz", "rt", encoding="utf-8") as file:
        return [line.split() for line in islice(file, 1200)]


@pytest.fixture(scope="module")
def text_file(lines, tmp_path_factory):
    path = tmp_path_factory.mktemp("phrases") / "text.txt"
    path.write_text("".join(" ".join(line) + "\n" for line in lines), encoding="utf-8")
    return path


def joined_lines(model, path):
    """The lines of a file as `model` joins them over word numbers."""
    return [line.split(" ") for line in b"".join(text_blocks(model.join(read_words(path)))).decode().splitlines()]


def not_empty(sentences):
    return [sentence for sentence in sentences if sentence]


# ---- gensim as an oracle


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"min_count": 2, "threshold": 3.5, "connector_words": ENGLISH_CONNECTOR_WORDS},
        {"scoring": "npmi", "threshold": 0.4, "delimiter": "+~"},
        {"scoring": "npmi", "threshold": -0.5, "min_count": 20, "connector_words": frozenset(["of", "the"])},
        {"min_count": 2.5, "threshold": 0.5},
    ],
    ids=["default", "connectors", "npmi", "npmi with connectors", "fractions"],
)
def test_counts_scores_and_joining_are_gensims(gensim_phrases, lines, text_file, arguments):
    theirs = gensim_phrases.Phrases(lines, **arguments)
    ours = Phrases(corpus_file=text_file, **arguments)
    assert dict(ours.vocab) == theirs.vocab and ours.corpus_word_count == theirs.corpus_word_count
    # gensim takes words that hold the delimiter for phrases, and splits them at each.
    words = {word for line in lines for word in line}
    found = [{p: s for p, s in model.export_phrases().items() if p not in words} for model in (ours, theirs)]
    assert found[0] == found[1] and len(found[0]) > 50
    wanted = not_empty(theirs[lines])
    assert joined_lines(ours, text_file) == wanted
    assert not_empty(ours[lines]) == wanted
    assert ours.find_phrases(lines) == theirs.find_phrases(lines)


def test_two_passes_are_gensims(gensim_phrases, lines, text_file):
    bigrams = gensim_phrases.Phraser(gensim_phrases.Phrases(lines, connector_words=ENGLISH_CONNECTOR_WORDS))
    trigrams = gensim_phrases.Phrases(bigrams[lines], connector_words=ENGLISH_CONNECTOR_WORDS)
    ours = Phrases(corpus_file=text_file, connector_words=ENGLISH_CONNECTOR_WORDS)
    second = Phrases(corpus_file=text_file, phrases=ours, connector_words=ENGLISH_CONNECTOR_WORDS)
    assert dict(second.vocab) == trigrams.vocab
    wanted = not_empty(trigrams[bigrams[lines]])
    assert not_empty(second[ours[lines]]) == wanted
    joined = second.join(ours.join(read_words(text_file)))
    assert b"".join(text_blocks(joined)).decode() == "".join(" ".join(line) + "\n" for line in wanted)


WORDS = st.sampled_from(["a", "b", "c", "a_b", "b_c", "of", "the", "a_of_b", "_", "b_"])
TEXTS = st.lists(st.lists(WORDS, max_size=8), min_size=1, max_size=8).filter(lambda text: any(text))


@PROPERTY
@given(
    texts=st.lists(TEXTS.map(not_empty), min_size=1, max_size=3),
    other=TEXTS,
    connectors=st.sets(st.sampled_from(["of", "the", "c"])),
    scoring=st.sampled_from([("default", 0.01), ("default", 0.4), ("npmi", 0.1), ("npmi", -1.0)]),
    max_vocab_size=st.sampled_from([1, 5, 10, 40_000_000]),
)
def test_any_text_is_gensims(gensim_phrases, texts, other, connectors, scoring, max_vocab_size):
    """Words may hold the delimiter, so that texts of phrases meet; counts are pruned; more text is added."""
    name, threshold = scoring
    options = {"min_count": 1, "threshold": threshold, "scoring": name, "connector_words": frozenset(connectors)}
    theirs = gensim_phrases.Phrases(None, max_vocab_size=max_vocab_size, **options)
    ours = Phrases(None, max_vocab_size=max_vocab_size, workers=1, **options)
    for text in texts:
        theirs.add_vocab(text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            ours.add_vocab(text)
    assert dict(ours.vocab) == theirs.vocab and ours.min_reduce == theirs.min_reduce
    for sentence in [*texts[0], *other]:
        try:
            wanted = list(theirs.analyze_sentence(sentence))
        except ZeroDivisionError:  # gensim's, of a phrase that is the whole text
            continue
        assert [tuple(token) for token in ours.analyze_sentence(sentence)] == wanted
    corpus = read_corpus(other, min_count=1)
    assert words_of(ours.join(corpus)) == [ours[sentence] for sentence in other if sentence]


def words_of(corpus):
    words = corpus.vocabulary.words
    return [
        [words[number] for number in corpus.ids[a:b]]
        for a, b in zip(corpus.offsets[:-1], corpus.offsets[1:], strict=True)
    ]


@PROPERTY
@given(text=TEXTS, connectors=st.sets(st.sampled_from(["of", "the"])))
def test_frozen_phrases_are_those_that_are_joined(text, connectors):
    """Both join the same in the text that they were learnt from; words may hold the delimiter."""
    model = Phrases(text, min_count=1, threshold=0.3, connector_words=connectors)
    frozen = model.freeze()
    assert list(frozen[text]) == list(model[text])
    assert [frozen.analyze_sentence(sentence) for sentence in text] == [model.analyze_sentence(s) for s in text]
    assert set(model.find_phrases(text)) <= set(frozen)


def test_freezing_a_second_pass_keeps_its_phrases(gensim_phrases):
    """gensim's does not: it splits new_york_city anew, and finds that "new" is never without "york"."""
    text = [["new", "york", "city"], ["in", "new", "york"], ["a", "city"], ["la", "la"]] * 10
    options = {"min_count": 1, "threshold": 0.35}
    bigrams = Phrases(text, **options)
    trigrams = Phrases(bigrams[text], **options)
    assert trigrams[bigrams[text[0]]] == ["new_york_city"]
    assert FrozenPhrases([bigrams, trigrams])[text[0]] == ["new_york_city"]
    theirs = gensim_phrases.Phrases(gensim_phrases.Phraser(gensim_phrases.Phrases(text, **options))[text], **options)
    assert theirs[["new_york", "city"]] == ["new_york_city"]
    assert theirs.freeze()[["new_york", "city"]] == ["new_york", "city"]


# ---- word2phrase


def word2phrase(lines, min_count, threshold):
    """What word2phrase.c writes: counts do not stop at a line's end, joining does, arithmetic is float32."""
    counts, last, num_words = {}, None, 0
    for line in lines:
        for word in line:
            num_words += 1
            counts[word] = counts.get(word, 0) + 1
            if last is not None:
                counts[f"{last}_{word}"] = counts.get(f"{last}_{word}", 0) + 1
            last = word
    counts = {term: count for term, count in counts.items() if count >= min_count}
    written, pa, single = [], 0, np.float32
    for line in lines:
        out, last = [], None
        for word in line:
            pb = counts.get(word, 0)
            pab = counts.get(f"{last}_{word}") if last is not None else None
            score = single(0)
            if pab is not None and pa >= min_count and pb >= min_count:
                score = single(pab - min_count) / single(pa) / single(pb) * single(num_words)
            if score > single(threshold):
                out[-1] += f"_{word}"
                pb = 0
            else:
                out.append(word)
            pa, last = pb, word
        written.append(out)
    return written


@PROPERTY
@given(text=TEXTS, min_count=st.integers(1, 3), threshold=st.sampled_from([0.01, 0.3, 1.0, 4.0]))
def test_any_text_is_word2phrases(text, min_count, threshold):
    model = Phrases(text, min_count=min_count, threshold=threshold, scoring="word2phrase")
    assert list(model[text]) == word2phrase(text, min_count, threshold)
    assert words_of(model.join(read_words(text))) == not_empty(word2phrase(text, min_count, threshold))


def test_word2phrase_on_real_text(lines, text_file):
    model = Phrases(corpus_file=text_file, scoring="word2phrase")
    assert (model.threshold, model.min_count) == (100, 5)
    wanted = not_empty(word2phrase(lines, 5, 100))
    assert joined_lines(model, text_file) == wanted
    assert sum("_" in word for line in wanted for word in line) > 300
    # The score multiplies by all words, gensim's by different ones.
    phrase, score = next(iter(model.export_phrases().items()))
    a, b = phrase.split("_")
    count, ends = model.vocab[phrase], model.vocab[a] * model.vocab[b]
    assert score == pytest.approx((count - 5) / ends * model.corpus_word_count, rel=1e-6)
    assert Phrases(corpus_file=text_file, threshold=1e-9).export_phrases()[phrase] == pytest.approx(
        (count - 5) / ends * len(Phrases(corpus_file=text_file).vocab), rel=1e-12
    )


# ---- how it is done must not show


def test_threads_and_pieces_change_nothing(lines, text_file, monkeypatch):
    options = {"connector_words": ENGLISH_CONNECTOR_WORDS, "min_count": 2, "corpus_file": text_file}
    whole = Phrases(**options, workers=1)
    corpus = read_words(text_file)
    joined = whole.join(corpus, workers=1)
    monkeypatch.setattr(terms, "_ROUND", 10_000)
    monkeypatch.setattr(terms, "_PIECE", 777)
    monkeypatch.setattr(joining, "_PIECE", 333)
    pieces = Phrases(**options, workers=5)
    assert dict(pieces.vocab) == dict(whole.vocab)
    again = pieces.join(corpus, workers=5)
    assert np.array_equal(again.offsets, joined.offsets)
    assert b"".join(text_blocks(again, 3)) == b"".join(text_blocks(joined, 1))
    assert np.array_equal(np.sort(again.vocabulary.counts), np.sort(joined.vocabulary.counts))


@pytest.mark.parametrize("scoring", ["default", "word2phrase"])
def test_a_text_of_one_line_is_cut_where_no_phrase_is(lines, monkeypatch, scoring):
    text = [[word for line in lines[:300] for word in line]]
    options = {"min_count": 2, "threshold": 5, "scoring": scoring, "connector_words": ENGLISH_CONNECTOR_WORDS}
    model = Phrases(text, **options)
    wanted = [model[text[0]]]
    monkeypatch.setattr(terms, "_ROUND", 1000)
    monkeypatch.setattr(terms, "_PIECE", 100)
    monkeypatch.setattr(joining, "_PIECE", 50)
    assert dict(Phrases(text, **options).vocab) == dict(model.vocab)
    assert words_of(model.join(read_words(text), workers=2)) == wanted
    assert sum("_" in word for word in wanted[0]) > 500


def test_a_small_memory_uses_a_file(text_file):
    model = Phrases(corpus_file=text_file, max_memory="100k")
    plain = model.join(read_words(text_file))
    mapped = model.join(read_words(text_file, max_memory=100_000), max_memory=100_000)
    assert isinstance(mapped.ids, np.memmap) and not isinstance(plain.ids, np.memmap)
    assert np.array_equal(mapped.ids, plain.ids) and np.array_equal(mapped.offsets, plain.offsets)
    assert np.array_equal(mapped.vocabulary.counts, plain.vocabulary.counts)


def test_the_joined_text_is_what_a_reader_finds(text_file, tmp_path):
    model = Phrases(corpus_file=text_file, threshold=2)
    joined = model.join(read_words(text_file))
    (tmp_path / "joined.txt").write_bytes(b"".join(text_blocks(joined)))
    read = read_words(tmp_path / "joined.txt")
    found = {
        word: count for word, count in zip(joined.vocabulary.words, joined.vocabulary.counts, strict=True) if count
    }
    assert found == dict(zip(read.vocabulary.words, read.vocabulary.counts, strict=True))
    assert words_of(joined) == words_of(read)
    assert joined.num_words == read.num_words


def test_reading_what_a_model_returns_does_not_go_through_words(text_file, lines, monkeypatch):
    first = Phrases(corpus_file=text_file)
    slow = Phrases(sentence for sentence in first[lines])
    monkeypatch.setattr(PhrasedSentences, "__iter__", None)
    quick = Phrases(first[lines])
    assert dict(quick.vocab) == dict(slow.vocab)
    twice = Phrases(quick[first[lines]])
    monkeypatch.undo()
    assert dict(twice.vocab) == dict(Phrases(list(quick[first[lines]])).vocab)


@pytest.mark.parametrize("max_memory", [None, 1000])
def test_a_reader_joins_phrases(text_file, tmp_path, max_memory):
    """What is read with phrases is what would be read from the joined text."""
    first = Phrases(corpus_file=text_file, threshold=5)
    second = Phrases(corpus_file=text_file, phrases=first, threshold=5)
    (tmp_path / "joined.txt").write_bytes(b"".join(text_blocks(second.join(first.join(read_words(text_file))))))
    options = {"min_count": 3, "max_sentence_length": 20, "keep_raw": True}
    wanted = read_corpus(tmp_path / "joined.txt", **options)
    models = [first, second], FrozenPhrases([first, second])
    for phrases in models:
        read = read_corpus(text_file, phrases=phrases, **options, max_memory=max_memory, workers=2)
        assert read.vocabulary.words == wanted.vocabulary.words
        assert np.array_equal(read.vocabulary.counts, wanted.vocabulary.counts)
        assert np.array_equal(read.ids, wanted.ids) and np.array_equal(read.offsets, wanted.offsets)
        assert read.num_words == wanted.num_words
        assert read.raw_vocabulary.words == wanted.raw_vocabulary.words
    assert any(word.count("_") == 2 for word in wanted.vocabulary.words)
    known = read_corpus(text_file, phrases=models[0], vocabulary=wanted.vocabulary.first(100))
    assert np.array_equal(known.ids, read_corpus(tmp_path / "joined.txt", vocabulary=wanted.vocabulary.first(100)).ids)


def test_a_reader_sees_through_joined_sentences(text_file, lines, monkeypatch):
    model = Phrases(corpus_file=text_file)
    wanted = read_corpus(text_file, phrases=model)
    monkeypatch.setattr(PhrasedSentences, "__iter__", None)
    assert np.array_equal(read_corpus(model[lines]).ids, wanted.ids)
    with pytest.raises(TypeError, match="phrases must be Phrases, FrozenPhrases or several of them, got 'a'"):
        read_corpus(lines, phrases="a_b")
    with pytest.raises(ValueError, match="max_vocab_size cannot be used with phrases"):
        read_corpus(lines, phrases=model, max_vocab_size=100)


def test_what_was_pruned_is_told():
    text = [["a", "b"], ["a", "b"], ["c", "d"], ["e", "f"], ["a", "b"]]
    with pytest.warns(
        UserWarning, match=r"max_vocab_size=5 was reached: 6 words and phrases .* fewer than 2 times, 6 "
    ):
        model = Phrases(text, max_vocab_size=5, min_count=1, threshold=0.01)
    assert dict(model.vocab) == {"a": 3, "b": 3, "a_b": 3}
    assert len(Phrases(text, max_vocab_size=9).vocab) == 9


# ---- sentences


@pytest.fixture(scope="module")
def model():
    text = [["new", "york", "is", "large"], ["bank", "of", "america"], ["new", "york", "bank", "of", "america"]]
    return Phrases(text * 5, min_count=1, threshold=0.2, connector_words=["of", "the"])


def test_sentences_and_texts(model):
    assert model[["in", "new", "york"]] == ["in", "new_york"]
    assert model[("the", "bank", "of", "america", "of", "of")] == ["the", "bank_of_america", "of", "of"]
    assert model[[]] == [] and model[iter(["new", "york"])] == ["new_york"]
    assert list(model[[["new", "york"], [], ["bank", "of", "the", "bank"]]]) == [
        ["new_york"],
        [],
        ["bank", "of", "the", "bank"],
    ]
    stream = model[iter([["new", "york"]])]
    assert list(stream) == [["new_york"]] and list(stream) == []
    again = model[[["new", "york"]]]
    assert list(again) == list(again) == [["new_york"]] and len(again) == 1
    assert model[["new", "", "york"]] == ["new_york"], "an empty word is no word"


def test_scores_of_a_sentence(model):
    found = model.analyze_sentence(["new", "york", "of", "york"])
    assert [token.text for token in found] == ["new_york", "of", "york"]
    assert found[1].score is None and found[0].score == model.export_phrases()["new_york"]
    assert model.score_candidate("bank", "america", ["of"]) == (
        "bank_of_america",
        model.export_phrases()["bank_of_america"],
    )
    assert model.score_candidate("bank", "america") == (None, None)
    assert model.score_candidate("", "york") == (None, None)


def test_a_models_threshold_may_be_changed(model):
    text = [["a", "b"], ["a", "c"]] * 3
    model = Phrases(text, min_count=1, threshold=1000)
    assert model[["a", "b"]] == ["a", "b"]
    model.threshold = 0.1
    assert model[["a", "b"]] == ["a_b"]


def test_phrases_come_best_first(model):
    scores = list(model.export_phrases().values())
    assert scores == sorted(scores, reverse=True) and len(scores) == len(model.freeze()) > 3


@pytest.mark.parametrize(
    ("sentence", "error", "message"),
    [
        ("new york", TypeError, r"a sentence must be a list of str, got 'new york'; split it"),
        (["new", 3], TypeError, r"got 3 at position 1"),
        ([b"new"], TypeError, r"'?int'?|bytes|position"),
        (["new", "\ud800"], ValueError, r"valid Unicode, got '\\ud800' at position 1"),
        (None, TypeError, "NoneType"),
    ],
)
def test_what_is_no_sentence(model, sentence, error, message):
    with pytest.raises(error, match=message):
        list(model[sentence])


def test_bytes_that_are_not_utf8_survive(tmp_path):
    path = tmp_path / "latin1.txt"
    path.write_bytes(b"caf\xe9 noir\ncaf\xe9 noir\n")
    model = Phrases(corpus_file=path, min_count=1, threshold=0.1, errors="surrogateescape")
    assert model[["caf\udce9", "noir"]] == ["caf\udce9_noir"]
    joined = model.join(read_words(path, errors="surrogateescape"))
    assert b"".join(text_blocks(joined)) == b"caf\xe9_noir\n" * 2
    model.freeze().save(tmp_path / "phrases.json")
    assert Phrases.load(tmp_path / "phrases.json")[["caf\udce9", "noir"]] == ["caf\udce9_noir"]


# ---- scorers


def test_a_function_scores(gensim_phrases, lines, text_file):
    def dice(worda_count, wordb_count, bigram_count, len_vocab, min_count, corpus_word_count):
        assert len_vocab > 1000 and corpus_word_count > 50_000 and min_count == 5
        return 2 * bigram_count / (worda_count + wordb_count) if bigram_count >= min_count else -math.inf

    theirs = gensim_phrases.Phrases(None, scoring=gensim_phrases.original_scorer, threshold=0.2)
    theirs.scoring = dice
    theirs.add_vocab(lines)
    ours = Phrases(corpus_file=text_file, scoring=dice, threshold=0.2)
    wanted = not_empty(theirs[lines])
    assert joined_lines(ours, text_file) == wanted
    assert not_empty(ours.freeze()[lines]) == wanted
    assert ours.freeze().scoring == "dice"


def test_what_a_function_raises_is_raised(text_file):
    def broken(**counts):
        raise ZeroDivisionError("no score")

    model = Phrases([["a", "b"]], min_count=1, scoring=broken)
    with pytest.raises(ZeroDivisionError, match="no score"):
        _ = model[["a", "b"]]
    with pytest.raises(ZeroDivisionError, match="no score"):
        model.join(read_words([["a", "b"]]), workers=2)
    with pytest.raises(ValueError, match="a function cannot be written"):
        model.save("x.safetensors")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"min_count": 0}, ValueError, "min_count must be a finite number > 0, got 0"),
        ({"threshold": 0}, ValueError, "threshold must be a finite number > 0, got 0"),
        ({"threshold": 2, "scoring": "npmi"}, ValueError, r"threshold must be a number in \[-1, 1\], got 2"),
        ({"scoring": "pmi"}, ValueError, "scoring must be one of 'default', 'npmi', 'word2phrase', got 'pmi'"),
        ({"scoring": 3}, TypeError, "or a function, got 3"),
        ({"scoring": lambda worda_count: 0}, ValueError, "it lacks wordb_count, bigram_count"),
        ({"max_vocab_size": 0}, ValueError, "max_vocab_size must be an integer >= 1, got 0"),
        ({"delimiter": ""}, ValueError, "delimiter must not be empty"),
        ({"delimiter": b"_"}, TypeError, "delimiter must be a str"),
        ({"connector_words": "of"}, TypeError, "connector_words must be a collection of words, got the str 'of'"),
        ({"sentences": "text.txt"}, TypeError, "a file's name goes into corpus_file="),
        ({"sentences": [["a"]], "corpus_file": "text.txt"}, TypeError, "got both"),
        ({"sentences": []}, ValueError, "source holds no sentences"),
        ({"workers": 0}, ValueError, "workers"),
        ({"max_memory": "much"}, ValueError, "max_memory must be a number of bytes"),
    ],
)
def test_arguments_are_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        Phrases(**arguments)


def test_defaults_of_thresholds():
    assert [Phrases(scoring=name).threshold for name in ("default", "npmi", "word2phrase")] == [10, 0.5, 100]
    assert Phraser is FrozenPhrases is fastemb.FrozenPhrases


# ---- files


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    model.save(folder / "model.safetensors")
    model.freeze().save(folder / "model.json")
    return folder


def test_a_model_comes_back_and_learns_on(saved, model):
    loaded = Phrases.load(saved / "model.safetensors")
    assert dict(loaded.vocab) == dict(model.vocab)
    names = ("threshold", "min_count", "delimiter", "connector_words", "scoring", "corpus_word_count", "min_reduce")
    assert all(getattr(loaded, name) == getattr(model, name) for name in names)
    assert loaded.export_phrases() == model.export_phrases()
    loaded.add_vocab([["bank", "of", "america", "is", "large"], ["very", "large"]])
    assert loaded.vocab["bank_of_america"] == model.vocab["bank_of_america"] + 1
    assert loaded.vocab["very_large"] == 1 and loaded.vocab["is_large"] == model.vocab["is_large"] + 1
    assert set(loaded.vocab) == {*model.vocab, "very", "very_large", "america_is"}


def test_frozen_phrases_come_back(saved, model):
    frozen = model.freeze()
    loaded = FrozenPhrases.load(saved / "model.json")
    assert loaded.passes == frozen.passes
    assert Phrases.load(saved / "model.json").passes == frozen.passes
    assert json.loads((saved / "model.json").read_text())["passes"][0]["phrases"]["new_york"] > 0
    several = FrozenPhrases([model, frozen])
    assert FrozenPhrases.of_json(several.to_json()).passes == several.passes and len(several.passes) == 2
    assert repr(several).endswith("phrases in 2 passes)") and "new_york" in several and "new" not in several


def test_models_can_be_copied_and_pickled(model):
    """As what trains in another process is; files are written without pickle."""
    sentence = ["the", "bank", "of", "america", "in", "new", "york"]
    for one in (model, model.freeze()):
        assert one[sentence] == ["the", "bank_of_america", "in", "new_york"]
        for other in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            assert other[sentence] == one[sentence] and other.export_phrases() == one.export_phrases()
    assert dict(pickle.loads(pickle.dumps(model)).vocab) == dict(model.vocab)


def test_models_are_written_as_what_they_are(model, tmp_path):
    with pytest.raises(ValueError, match=r"path must not end in '\.json'"):
        model.save(tmp_path / "model.json")
    with pytest.raises(ValueError, match=r"path must not end in '\.safetensors'"):
        model.freeze().save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="there must be at least one pass"):
        FrozenPhrases([])
    with pytest.raises(TypeError, match="phrases_model must be Phrases"):
        FrozenPhrases({"a_b": 3})


def test_files_of_any_name(model, tmp_path):
    model.save(tmp_path / "counted.pkl")
    model.freeze().save(tmp_path / "frozen.pkl")
    assert dict(Phrases.load(tmp_path / "counted.pkl").vocab) == dict(model.vocab)
    for kind in (Phrases, FrozenPhrases):
        assert kind.load(tmp_path / "frozen.pkl").export_phrases() == model.export_phrases()
        (tmp_path / "gensims.pkl").write_bytes(pickle.dumps(model.freeze()))
        with pytest.raises(ValueError, match=r"gensims\.pkl: a Python pickle"):
            kind.load(tmp_path / "gensims.pkl")


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[1]",
        "{",
        '{"format": "fastemb.FrozenPhrases/1"}',
        '{"format": "fastemb.FrozenPhrases/1", "passes": []}',
        '{"format": "fastemb.FrozenPhrases/1", "passes": [{"phrases": {"a_b": "x"}}]}',
        '{"format": "fastemb.FrozenPhrases/1", "passes": 3}',
        '{"format": "fastemb.FrozenPhrases/1", "passes": [{"phrases": {}, "connector_words": [], "threshold": 1, '
        '"min_count": 1, "delimiter": "_", "scoring": "default", "splits": []}]}',
        "[" * 100_000,
    ],
)
def test_json_that_is_no_model(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ValueError, match=r"model\.json: (not a model of phrases|a damaged model)"):
        FrozenPhrases.load(tmp_path / "model.json")


@settings(max_examples=150, derandomize=True, deadline=None)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7), cut=st.one_of(st.none(), st.integers(0, 10_000)))
@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_damaged_files_are_refused_or_read(saved, tmp_path_factory, name, place, bit, cut):
    content = bytearray((saved / name).read_bytes())
    content[place % len(content)] ^= 1 << bit
    path = saved / f"damaged-{name}"
    path.write_bytes(content if cut is None else content[: cut % len(content)])
    try:
        loaded = Phrases.load(path)
    except ValueError as error:
        assert str(error)
        return
    assert isinstance(list(loaded[[["new", "york", "bank", "of", "america"]]]), list)
    loaded.export_phrases()


LEARN_AND_ASK = """
import threading, time
from fastemb import Phrases

phrases = Phrases([["a", "b"]], min_count=1, threshold=0.1, max_vocab_size=20_000, workers=1)
end, failures = time.monotonic() + 2, []

first = 0

def learn():
    global first
    first += 9000
    words = [f"{first + i * i % 9973}" for i in range(6000)]
    phrases.add_vocab([["a", "b"]] * 9 + [words[n : n + 20] for n in range(0, 6000, 20)])

def repeat(function):
    while time.monotonic() < end:
        try:
            function()
        except Exception as error:
            failures.append(error)

ask = phrases.export_phrases, lambda: phrases[["a", "b"]], lambda: list(phrases.vocab), lambda: phrases.vocab["a"]
threads = [threading.Thread(target=repeat, args=(function,)) for function in (learn, *ask)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failures, failures
"""


def test_phrases_are_learned_in_one_thread_and_asked_for_in_others():
    """What is asked for is that of the text until then, or until a little later."""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", LEARN_AND_ASK], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
