"""Which words become the vocabulary: gensim's options, bounded memory, and a vocabulary that grows."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.corpus.reader import read_corpus
from fastemb.corpus.selection import RULE_DEFAULT, RULE_DISCARD, RULE_KEEP, Selection

WORDS = st.lists(st.sampled_from("abcdefghijklmnopqrst"), min_size=1, max_size=200)


def text_of(corpus):
    """Return the words of a corpus, sentence by sentence."""
    words = np.array(corpus.vocabulary.words, object)[corpus.ids]
    return [list(words[a:b]) for a, b in zip(corpus.offsets, corpus.offsets[1:], strict=False)]


def rule(word, count, min_count):
    return {"a": RULE_DISCARD, "b": RULE_KEEP, "c": RULE_DEFAULT}.get(word)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"min_count": 3},
        {"min_count": 1, "max_final_vocab": 4},
        {"min_count": 6, "max_final_vocab": 400},
        {"min_count": 3, "trim_rule": rule},
        {"min_count": 2, "max_final_vocab": 6, "trim_rule": rule},
        {"min_count": 1, "sorted_vocab": False},
        {"min_count": 0},
    ],
    ids=" ".join,  # the same in every process
)
def test_gensim_chooses_the_same_words(options):
    models = pytest.importorskip("gensim.models", reason="gensim is not installed")
    random = np.random.default_rng(0)
    letters = [chr(97 + int(i)) for i in np.minimum(random.geometric(0.15, 300) - 1, 20)]
    sentences = [letters[i : i + 7] for i in range(0, len(letters), 7)]
    keywords = {name: value for name, value in options.items() if name != "trim_rule"}
    theirs = models.Word2Vec(**{"min_count": 5, **keywords})
    theirs.build_vocab(sentences, trim_rule=options.get("trim_rule"))
    ours = read_corpus(sentences, **options).vocabulary
    counts = {word: theirs.wv.get_vecattr(word, "count") for word in theirs.wv.index_to_key}
    assert dict(zip(ours.words, ours.counts.tolist(), strict=True)) == counts
    if not options.get("sorted_vocab", True):
        assert ours.words == theirs.wv.index_to_key == list(dict.fromkeys(letters))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"min_count": -1}, ValueError, "min_count must be"),
        ({"max_final_vocab": 0}, ValueError, "max_final_vocab must be"),
        ({"max_vocab_size": 0}, ValueError, "max_vocab_size must be"),
        ({"trim_rule": 3}, TypeError, "trim_rule must be callable as rule"),
        ({"sorted_vocab": "yes"}, TypeError, "sorted_vocab must be"),
        ({"trim_rule": lambda *_: True}, ValueError, r"trim_rule must return .*got True for 'x'"),
        ({"trim_rule": lambda *_: 3}, ValueError, r"trim_rule must return .*got 3 for 'x'"),
        ({"trim_rule": lambda *_: RULE_DISCARD, "min_count": 1}, ValueError, "trim_rule discards all of 2 words"),
        ({"max_final_vocab": 1, "min_count": 1}, ValueError, "max_final_vocab=1: more words occur 2 times, like.*'x'"),
        ({"min_count": 3}, ValueError, "no word occurs min_count=3 times"),
    ],
)
def test_options_that_cannot_be(options, error, message):
    with pytest.raises(error, match=message):
        read_corpus([["x", "y", "x", "y"]], **options)


def pruned(words, size, room):
    """Return what counting in `room` keeps, by blocks of `size` words: text, counts, and the occurrences lost."""
    counts, alive, lost = Counter(), [], 0
    for start in range(0, len(words), size):
        if len(counts) > room:
            threshold = sorted(counts.values(), reverse=True)[room // 2] + 1
            gone = {word for word, count in counts.items() if count < threshold}
            lost += sum(counts.pop(word) for word in gone)
            alive = [(word, False if word in gone else there) for word, there in alive]
        counts.update(words[start : start + size])
        alive += [(word, True) for word in words[start : start + size]]
    return [word for word, there in alive if there], counts, lost


@settings(max_examples=150, deadline=None, derandomize=True)
@given(words=WORDS, room=st.integers(2, 25), size=st.integers(1, 20), max_memory=st.sampled_from([None, 0]))
def test_rare_words_are_dropped_when_there_are_too_many(words, room, size, max_memory):
    kept, counts, lost = pruned(words, size, room)
    options = {"min_count": 1, "max_vocab_size": room, "max_memory": max_memory, "workers": 2}
    if not kept:
        with pytest.raises(ValueError, match="more different ones than max_vocab_size"):
            read_corpus([words], **options, _block_bytes=8 * size)
        return
    corpus = read_corpus([words], **options, _block_bytes=8 * size)
    assert text_of(corpus) == [kept]
    assert dict(zip(corpus.vocabulary.words, corpus.vocabulary.counts.tolist(), strict=True)) == counts
    assert Counter(kept) == counts and corpus.num_words == len(words)
    assert corpus.num_words_pruned == lost and (corpus.pruning_threshold > 1) == (lost > 0)


def test_counts_are_exact_while_there_is_room():
    words = [letter for i in range(40) for letter in "abcdefgh"[: i % 8 + 1]]
    exact = read_corpus([words], min_count=1)
    for room in (8, 100):
        corpus = read_corpus([words], min_count=1, max_vocab_size=room, _block_bytes=8)
        assert corpus.vocabulary.counts.tolist() == exact.vocabulary.counts.tolist()
        assert corpus.num_words_pruned == corpus.pruning_threshold == 0
        np.testing.assert_array_equal(corpus.ids, exact.ids)


def test_pruning_a_file_and_asking_a_rule(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(f"The w{i} the É{i} keep{i % 3} drop{i % 2}\n" for i in range(2000)))

    asked = set()

    def decide(word, count, min_count):
        asked.add(word)
        return RULE_KEEP if word.startswith("é") else RULE_DISCARD if word.startswith("drop") else RULE_DEFAULT

    options = {"min_count": 100, "max_vocab_size": 50, "lowercase": True, "workers": 3, "trim_rule": decide}
    corpus = read_corpus(path, **options, _block_bytes=1000)
    counts = dict(zip(corpus.vocabulary.words, corpus.vocabulary.counts.tolist(), strict=True))
    assert counts.pop("the") == 4000
    assert {word: count for word, count in counts.items() if word.startswith("é")} == {f"é{i}": 1 for i in range(2000)}
    assert {word for word in counts if not word.startswith("é")} == {"keep0", "keep1", "keep2"}
    assert "É3" not in asked and len(corpus.vocabulary) == 2004
    assert 1900 < corpus.num_words_pruned - 2 * 1000 * 0.9 < 2000 + 2000


def test_words_of_a_given_vocabulary_are_not_dropped():
    words = ["rare", *(f"w{i}" for i in range(100)), "rare"]
    vocabulary = read_corpus([["rare", "gone"]], min_count=1).vocabulary
    corpus = read_corpus([words], vocabulary=vocabulary, max_vocab_size=10, _block_bytes=40)
    assert text_of(corpus) == [["rare", "rare"]] and corpus.vocabulary is vocabulary


@settings(max_examples=100, deadline=None, derandomize=True)
@given(first=WORDS, second=WORDS, min_count=st.integers(1, 4), workers=st.integers(1, 2))
def test_a_vocabulary_is_extended(first, second, min_count, workers):
    first.append("a")
    second.append("a")
    old = read_corpus([first], min_count=1).vocabulary
    corpus = read_corpus([second], vocabulary=old, extend=True, min_count=min_count, workers=workers, _block_bytes=16)
    counts, more = Counter(first), Counter(second)
    words = corpus.vocabulary.words
    assert words[: len(old)] == old.words
    assert set(words[len(old) :]) == {word for word, count in more.items() if count >= min_count} - set(old.words)
    assert corpus.vocabulary.counts.tolist() == [counts[word] + more[word] for word in words]
    assert corpus.vocabulary.counts[len(old) :].tolist() == sorted((more[w] for w in words[len(old) :]), reverse=True)
    assert text_of(corpus) == [sentence for sentence in [[w for w in second if w in words]] if sentence]


def test_a_vocabulary_that_cannot_be_extended():
    old = read_corpus([["a"]], min_count=1).vocabulary
    with pytest.raises(ValueError, match="no word occurs min_count=5 times"):
        read_corpus([["b"]], vocabulary=old, extend=True)


def test_all_words_may_be_kept(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("b a b\nc\n" * 3)
    for workers in (1, 2):
        raw = read_corpus(path, min_count=4, keep_raw=True, workers=workers, _block_bytes=4).raw_vocabulary
        assert raw.words == ["b", "a", "c"] and raw.counts.tolist() == [6, 3, 3]
    assert read_corpus(path, min_count=4).raw_vocabulary is None


def test_the_lower_bound_of_a_final_size():
    counts = np.array([5, 9, 5, 1, 7])
    bounds = [Selection(1, size).effective_min_count(counts) for size in range(1, 7)]
    assert bounds == [8, 6, 6, 2, 1, 1]
    assert Selection(7, 4).effective_min_count(counts) == 7
