"""How text becomes training, where word2vec.c and gensim have rules or traps of their own; but no arithmetic."""

import warnings

import numpy as np
import pytest

from fastemb import Word2Vec
from fastemb.corpus.reader import read_corpus
from fastemb.engine.sampling import keep_probabilities

OPTIONS = {"vector_size": 8, "min_count": 1, "workers": 1, "epochs": 1, "sample": 0, "sg": 1}


def meetings(text, window=1, **options):
    """Return which words met: each pair of a word whose input row has changed and one whose output row has."""
    model = Word2Vec(**{**OPTIONS, **options}, window=window, shrink_windows=False)
    model.build_vocab(text)
    before = model.wv.vectors.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that no words met
        model.train(text * 20)  # output rows begin at zero, and the first pair changes no input
    changed = (model.wv.vectors != before).any(axis=1)
    return {word for word, new in zip(model.wv.index_to_key, changed, strict=True) if new}


def test_rare_words_make_room_for_wider_windows():
    """word2vec.c drops words that are not in the vocabulary before it forms windows."""
    text = [["a", "rare1", "b"], ["a", "rare2", "b"], ["b", "rare3", "a"]]
    assert meetings(text, min_count=2) == {"a", "b"}


def test_a_line_end_is_no_word_and_nothing_meets_across_it(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("a\nb\n\nc d\n")
    corpus = read_corpus(path, min_count=1)
    assert corpus.vocabulary.words == ["a", "b", "c", "d"] and corpus.offsets.tolist() == [0, 1, 2, 4]
    assert meetings([["a"], ["b"], ["c", "d"]], window=5) == {"c", "d"}


def test_the_end_of_sentence_of_word2vec_c_is_a_word_like_any_other():
    text = [["</s>", "a", "b"], ["a", "b", "a"]]
    assert read_corpus(text, min_count=2).vocabulary.words == ["a", "b"]  # word2vec.c never drops it
    corpus = read_corpus(text, min_count=1)
    assert corpus.vocabulary.words == ["a", "b", "</s>"]  # word2vec.c puts it first
    assert corpus.offsets.tolist() == [0, 3, 6]  # and ends a sentence at it
    assert "</s>" in meetings(text)  # and never trains it


def test_min_count_is_the_least_count_that_stays():
    assert read_corpus([["a", "a", "b"]], min_count=2).vocabulary.words == ["a"]
    assert read_corpus([["a", "a", "b"]], min_count=1).vocabulary.words == ["a", "b"]


def test_long_words_stay_whole(tmp_path):
    """word2vec.c cuts words at 99 bytes, so that two could become one."""
    first, second = "x" * 120 + "1", "x" * 120 + "2"
    path = tmp_path / "text.txt"
    path.write_text(f"{first} {second}\n")
    assert set(read_corpus(path, min_count=1).vocabulary.words) == {first, second}


def test_sentences_are_cut_at_1000_words_and_nothing_is_dropped():
    """gensim drops what comes after 10,000 words (its issues 2583 and 2880)."""
    words = [f"w{i % 50}" for i in range(25_500)]
    corpus = read_corpus([words], min_count=1)
    assert corpus.offsets.tolist() == [*range(0, 25_001, 1000), 25_500] and len(corpus.ids) == 25_500
    trained, raw = Word2Vec(**OPTIONS).fit([words]).train([words], epochs=1)
    assert trained == raw == 25_500
    corpus = read_corpus([["rare"] * 5 + words[:1000]], vocabulary=corpus.vocabulary)
    assert corpus.offsets.tolist() == [0, 1000]  # words left out do not count


def test_subsampling_sees_shares_of_retained_words():
    text = [["the"] * 60 + ["cat"] * 30 + [f"rare{i}" for i in range(10)]]
    vocabulary = read_corpus(text, min_count=2).vocabulary
    share = 60 / 90 / 0.1
    assert keep_probabilities(vocabulary.counts, 0.1)[0] == pytest.approx((np.sqrt(share) + 1) / share)


@pytest.mark.parametrize("sample", [1e-3, 0.05, 1, 3, 10.0])
def test_gensim_keeps_words_with_the_same_probability(sample):
    """From 1 on, sample is a number of words."""
    models = pytest.importorskip("gensim.models", reason="gensim is not installed")
    counts = {f"w{i}": 400 // (i + 1) for i in range(30)}
    theirs = models.Word2Vec(min_count=1, sample=sample)
    theirs.build_vocab_from_freq(dict(counts))
    wanted = [float(theirs.wv.get_vecattr(word, "sample_int")) / (2**32 - 1) for word in counts]
    found = keep_probabilities(np.array(list(counts.values())), sample)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    model = Word2Vec(min_count=1, sample=sample)
    model.build_vocab_from_freq(dict(counts))
    assert model.sample == sample


def test_a_count_as_sample_trains():
    text = [["the", "cat"] * 50] * 4
    kept, raw = Word2Vec(**{**OPTIONS, "sample": 5}).fit(text).train(text, epochs=1)
    assert 0 < kept < raw / 2


def test_the_last_rate_is_absolute():
    """word2vec.c's last rate is a share of the first, gensim's is not."""
    told = []

    class Tell:
        def on_progress(self, model, progress):
            told.append(progress.alpha)

    Word2Vec([["a", "b"]] * 10, **OPTIONS, alpha=0.5, callbacks=[Tell()])
    assert told[-1] == 1e-4


def test_words_of_one_count_stand_in_the_order_of_the_text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("z y x z\n" * 3 + "w w w\n")
    for workers in (1, 3):
        assert read_corpus(path, min_count=1, workers=workers).vocabulary.words == ["z", "y", "x", "w"]
