"""Other programs' arithmetic: each switch by what it changes, and gensim's own training as an oracle."""

import numpy as np
import pytest

from fastemb import FastText, Word2Vec
from fastemb.engine.huffman import huffman_paths, huffman_tree
from fastemb.engine.sampling import keep_probabilities
from fastemb.trainers.arithmetic import ARITHMETIC, Arithmetic, arithmetic
from fastemb.trainers.loop import Loop

COUNTS = [97, 53, 31, 18, 11, 6, 3, 1]  # no two sums that Huffman's construction compares are alike


def text(seed=0):
    words = np.repeat([f"w{k}" for k in range(len(COUNTS))], COUNTS)
    np.random.default_rng(seed).shuffle(words)
    return [list(map(str, sentence)) for sentence in np.array_split(words, 20)]


def small(**options):
    return {"vector_size": 10, "min_count": 1, "workers": 1, "epochs": 2, "sample": 0, **options}


@pytest.mark.parametrize("options", [{"sg": 1}, {"sg": 0}, {"sg": 0, "cbow_mean": 0}])
def test_hierarchical_softmax_equals_gensims(options):
    """Nothing is random with full windows and no negatives, so both must learn the same."""
    gensim = pytest.importorskip("gensim.models", reason="gensim is not installed")
    options = small(hs=1, negative=0, window=3, alpha=0.4, min_alpha=0.4, shrink_windows=False, **options)
    theirs = gensim.Word2Vec(**options)
    theirs.build_vocab(text())
    ours = Word2Vec(**options, compat="gensim")
    ours.build_vocab(text())
    assert ours.wv.index_to_key == theirs.wv.index_to_key
    ours.wv.vectors[:] = theirs.wv.vectors
    before = theirs.wv.vectors.copy()
    theirs.train(text(), total_examples=20, epochs=2)
    ours.train(text(), epochs=2)
    np.testing.assert_allclose(ours.wv.vectors, theirs.wv.vectors, atol=1e-3)
    np.testing.assert_allclose(ours.syn1, theirs.syn1[:-1], atol=1e-3)
    assert np.abs(theirs.wv.vectors - before).max() > 0.1


@pytest.mark.parametrize("compat", [None, *ARITHMETIC])
def test_where_vectors_begin(compat):
    model = Word2Vec(vector_size=10, min_count=1, compat=compat)
    model.build_vocab(text())
    bound = {"gensim": 0.1, "fasttext": 0.1}.get(compat, 0.05)
    assert 0.9 * bound < np.abs(model.wv.vectors).max() <= bound


class Rates:
    def __init__(self):
        self.alphas = []

    def on_progress(self, model, progress):
        if progress.stage == "training":
            self.alphas.append(progress.alpha)


@pytest.mark.parametrize(
    ("options", "first", "last"),
    [
        ({"sg": 1}, 0.035, 1e-4),
        ({"sg": 0}, 0.075, 1e-4),
        ({"sg": 0, "cbow_update": "corrected"}, 0.2, 1e-4),
        ({"sg": 0, "cbow_update": "corrected", "cbow_mean": 0}, 0.05, 1e-4),
        ({"sg": 1, "compat": "word2vec.c"}, 0.025, 0.025e-4),
        ({"sg": 0, "compat": "word2vec.c"}, 0.05, 0.05e-4),
        ({"sg": 0, "compat": "gensim"}, 0.025, 1e-4),
        ({"sg": 1, "compat": "fasttext"}, 0.05, 0),
        ({"sg": 1, "compat": "fasttext", "alpha": 0.2, "min_alpha": 0.1}, 0.2, 0.1),
    ],
)
def test_rates(options, first, last):
    rates = Rates()
    Word2Vec(text(), **small(**options, callbacks=[rates]))
    assert (rates.alphas[0], rates.alphas[-1]) == (pytest.approx(first), pytest.approx(last))


@pytest.mark.parametrize("update", ["classic", "corrected"])
def test_an_update_that_is_given_counts(update):
    model = Word2Vec(text(), **small(sg=0, alpha=0.05, cbow_update=update))
    other = Word2Vec(text(), **small(sg=0, alpha=0.05))
    assert np.array_equal(model.wv.vectors, other.wv.vectors) == (update == Arithmetic.cbow_update)


def test_a_sum_is_divided_as_gensim_does():
    """Of one step: the same outputs, and inputs that moved by a part of what they move by in word2vec.c."""
    sentence = [["w0", "w1", "w2"]]
    changes = []
    for compat in ("word2vec.c", "gensim"):
        model = Word2Vec(**small(sg=0, cbow_mean=0, window=2, shrink_windows=False, hs=1, negative=0, compat=compat,
                                 alpha=1e-4, min_alpha=1e-4))  # fmt: skip
        model.build_vocab(sentence)
        model.syn1[:] = 1
        model.wv.vectors[:] = np.arange(30).reshape(3, 10) / 100
        before = model.wv.vectors.copy()
        model.train(sentence, epochs=1)
        changes.append(model.wv.vectors - before)
    np.testing.assert_allclose(changes[1], changes[0] / 2, atol=1e-6)
    assert np.abs(changes[0]).max() > 1e-5


def test_fasttexts_nodes_have_the_other_sign():
    ours, theirs = (
        Word2Vec(text(), **small(hs=1, negative=0, sg=1, alpha=0.1, min_alpha=0.01, **options))
        for options in ({"shared_negatives": False}, {"compat": "fasttext"})
    )
    ours, theirs = ours.syn1.ravel(), theirs.syn1.ravel()
    assert np.corrcoef(ours, theirs)[0, 1] < -0.5


def test_a_share_of_all_words():
    """fastText counts the words left out, too, so it drops fewer of the others."""
    lines = [["a", "b"] * 5 + [f"rare{k}"] for k in range(200)]
    kept = {}
    for compat in ("word2vec.c", "fasttext"):
        model = Word2Vec(min_count=2, vector_size=4, workers=1, epochs=1, sample=0.1, compat=compat)
        model.build_vocab(lines)
        kept[compat], _ = model.train(lines)
    counts = np.array([1000, 1000])
    for compat, total in (("word2vec.c", None), ("fasttext", 2200)):
        assert kept[compat] == pytest.approx(2000 * keep_probabilities(counts, 0.1, total)[0], rel=0.1)
    assert kept["fasttext"] > kept["word2vec.c"]


def test_sample_may_be_a_number_of_words():
    """gensim's rule: from 1 on, the threshold is a count."""
    counts = np.array([100, 10, 2])
    threshold = int(2 * (3 + np.sqrt(5)) / 2)
    wanted = np.minimum(1, (np.sqrt(counts / threshold) + 1) * threshold / counts)
    np.testing.assert_allclose(keep_probabilities(counts, 2), wanted, rtol=1e-6)


def test_names():
    with pytest.raises(
        ValueError, match=r"compat must be one of 'word2vec.c', 'gensim', 'fasttext', 'glove', got 'w2v'"
    ):
        Word2Vec(compat="w2v")
    with pytest.raises(ValueError, match="compat='glove' is for GloVe"):
        Word2Vec(compat="glove")
    assert arithmetic(None, shared_negatives=False).pairwise and arithmetic("gensim").pairwise


def test_paths_of_words_in_any_order():
    counts = np.array([3, 90, 10, 53, 1, 31])
    falling = np.argsort(-counts)
    paths, tree = huffman_paths(counts), huffman_tree(counts[falling])
    for rank, word in enumerate(falling):
        mine = slice(*paths.offsets[word : word + 2])
        wanted = slice(*tree.offsets[rank : rank + 2])
        np.testing.assert_array_equal(paths.points[mine], tree.points[wanted])
        np.testing.assert_array_equal(paths.codes[mine], tree.codes[wanted])
    np.testing.assert_array_equal(huffman_paths(counts, code_is_label=True).codes, 1 - paths.codes)


@pytest.fixture
def starts(monkeypatch):
    """Return a list that gets the first sentence of each range, as ranges are handed to threads."""
    starts = []
    work = Loop._work

    def recorded(*arguments):
        for task in work(*arguments):
            starts.append(task.start)
            yield task

    monkeypatch.setattr(Loop, "_work", recorded)
    return starts


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ({}, None),
        ({"compat": "gensim"}, "abcdefgh"),
        ({"compat": "fasttext"}, "abcdefgh"),
        ({"compat": "fasttext", "workers": 2}, "aebfcgdh"),
    ],
)
def test_the_order_of_the_text(options, order, starts):
    """FastText trains the parts of a text in a random order, so that its end is not learnt at the lowest rate."""
    told = []

    class Places:
        def on_progress(self, model, progress):
            told.append((progress.stage, progress.words, progress.alpha))

    text = [[f"{part}{n % 7}" for n in range(10)] for part in "abcdefgh" for _ in range(20)]
    options = {"vector_size": 8, "min_count": 1, "workers": 1, "sample": 0, "epochs": 1, "sg": 1, "max_n": 0, **options}
    model = FastText(text, callbacks=(Places(),), alpha=0.1, min_alpha=1e-6, **options)
    parts = [text[start][0][0] for start in starts]
    assert sorted(starts) == sorted(set(starts)) and set(parts) == set("abcdefgh")
    if order is None:
        assert starts != sorted(starts)
    else:
        assert "".join(dict.fromkeys(parts)) == order
    if options["workers"] == 1:  # then no thread runs ahead: what is trained earlier is trained at a higher rate
        lengths = np.linalg.norm(model.wv.vectors, axis=1)
        by_part = {part: np.mean([lengths[model.wv.get_index(f"{part}{n}")] for n in range(7)]) for part in "abcdefgh"}
        falling = sorted(by_part, key=by_part.__getitem__, reverse=True)
        assert falling != sorted(falling) if order is None else falling == list(order)
        again = FastText(text, alpha=0.1, min_alpha=1e-6, **options)
        np.testing.assert_array_equal(again.wv.vectors, model.wv.vectors)
    assert [alpha for stage, _, alpha in told if stage == "training"][-1] == 1e-6


@pytest.mark.parametrize(
    ("options", "in_order"), [({}, True), ({"hs": 1}, False), ({"hs": 1, "compat": "gensim"}, True)]
)
def test_the_order_of_the_text_with_hierarchical_softmax(options, in_order, starts):
    """A tree's nodes are trained with parts of the text in a random order, another one in each epoch."""
    Word2Vec(text(), **small(sg=1, **options))
    first, second = np.split(np.array(starts), 2)
    assert sorted(first) == sorted(second)
    assert (list(first) == sorted(first), list(first) == list(second)) == (in_order, in_order)
