"""Word2Vec and its words: options of the vocabulary, more text later, vectors to start from, words that stay."""

import copy
import pickle
import warnings

import numpy as np
import pytest

from fastemb import RULE_DEFAULT, RULE_DISCARD, FastText, KeyedVectors, Word2Vec

OPTIONS = {"vector_size": 20, "min_count": 1, "workers": 1, "epochs": 2, "sample": 0, "sg": 1}
MODELS = [{"sg": 1}, {"sg": 0, "hs": 1}]  # each kind of kernel takes seconds to compile


def sentences(number=100, words=16, seed=0):
    random = np.random.default_rng(seed)
    return [[f"w{i}" for i in random.integers(0, words, 10)] for _ in range(number)]


def tables(model):
    """Return copies of all rows: input, output, inner nodes."""
    state = model._state
    found = {name: getattr(state, name) for name in ("weight_in", "weight_out", "weight_inner")}
    return {name: table.copy() for name, table in found.items() if table is not None}


# ---- which words


def test_options_reach_the_vocabulary():
    text = [["the", "cat", "the", "dog"], ["the", "cat", "and"]]
    model = Word2Vec(text, **{**OPTIONS, "max_final_vocab": 2})
    assert model.wv.index_to_key == ["the", "cat"]
    rule = {"the": RULE_DISCARD}
    model.set_params(max_final_vocab=None, trim_rule=lambda word, *_: rule.get(word, RULE_DEFAULT), sorted_vocab=0)
    assert model.fit(text).wv.index_to_key == ["cat", "dog", "and"]


def test_what_is_lost_for_want_of_room_is_told(tmp_path):
    path = tmp_path / "text.txt"
    with path.open("w") as file:
        for i in range(20_000):
            file.write(f"the cat rare{i} and the other-rare{i} sat while it was raining cats and dogs all night long\n")
    with pytest.warns(
        UserWarning, match=r"max_vocab_size=1,000, so rare ones were dropped.*less than \d+ times: [\d,]+ of"
    ):
        model = Word2Vec(corpus_file=path, **{**OPTIONS, "epochs": 1, "max_vocab_size": 1000, "min_count": 20_000})
    assert model.wv.index_to_key[:2] == ["the", "and"] and model.wv.get_vecattr("cat", "count") == 20_000
    assert model.train(corpus_file=path, epochs=1)[1] == 340_000  # and without a warning: no word of the model is lost


def test_raw_counts_and_estimates():
    model = Word2Vec(min_count=2, vector_size=20, hs=1)
    assert model.raw_vocab == {}
    with pytest.raises(RuntimeError, match="call scan_vocab first"):
        model.prepare_vocab()
    text = [["b", "a", "b"], ["c", "b", "a"]]
    model.build_vocab(text)
    assert model.raw_vocab == {}
    model.build_vocab(text, keep_raw_vocab=True)
    assert model.raw_vocab == {"b": 3, "a": 2, "c": 1} and model.wv.index_to_key == ["b", "a"]
    assert model.scan_vocab(text * 2) == (12, 4)
    report = model.prepare_vocab(dry_run=True, min_count=5)
    assert report["num_retained_words"] == 1 and report["drop_unique"] == 2 and report["retain_total"] == 6
    assert len(model.wv) == 2 and model.min_count == 2
    model.prepare_vocab(min_count=3)
    assert model.wv.index_to_key == ["b", "a"] and model.min_count == 3 and model.corpus_count == 4
    estimate = model.estimate_memory(1000)
    assert estimate["vectors"] == estimate["syn1"] == estimate["syn1neg"] == 1000 * 32 * 4
    assert estimate["total"] == sum(value for name, value in estimate.items() if name != "total")
    assert model.estimate_memory(report={"text": 7})["text"] == 7


@pytest.mark.parametrize(
    ("counts", "error", "message"),
    [
        ([("a", 1)], TypeError, "word_freq must be a dict"),
        ({"a": 1.5}, TypeError, r"word_freq\['a'\] must be an integer"),
        ({"a": -1}, ValueError, r"word_freq\['a'\] must be an integer >= 0, got -1"),
        ({3: 1}, TypeError, "words must be str, got 3"),
        ({"a": 0}, ValueError, "all counts are 0"),
        ({"a": 1}, ValueError, "no word occurs min_count=5 times"),
    ],
)
def test_counts_that_make_no_vocabulary(counts, error, message):
    with pytest.raises(error, match=message):
        Word2Vec().build_vocab_from_freq(counts)


def test_a_model_from_counts_is_that_from_text():
    text = sentences()
    first, second = Word2Vec(**OPTIONS), Word2Vec(**OPTIONS)
    first.build_vocab(text, keep_raw_vocab=True)
    second.build_vocab_from_freq(first.raw_vocab, corpus_count=100)
    assert second.wv.index_to_key == first.wv.index_to_key and second.corpus_count == 100
    for model in (first, second):
        model.train(text)
    np.testing.assert_array_equal(first.wv.vectors, second.wv.vectors)


@pytest.mark.parametrize(
    ("name", "value"), [("hashfxn", hash), ("null_word", 1), ("batch_words", 10_000)], ids=lambda value: str(value)
)
def test_arguments_without_effect_say_so(name, value):
    with pytest.warns(UserWarning, match=f"^{name} has no effect: "):
        Word2Vec(**{name: value})


def test_the_rest_of_gensims_arguments():
    text = sentences()
    model = Word2Vec(text, **OPTIONS, comment="a trial", compute_loss=True)
    assert model.comment == "a trial" and str(model) == "Word2Vec<vocab=16, vector_size=20, alpha=0.035>"
    pairs = model.get_latest_training_loss() / model.losses[0]
    assert model.get_latest_training_loss() > model.losses[0] and pairs > 1000
    with pytest.warns(DeprecationWarning, match="init_sims is deprecated and has no effect"):
        model.init_sims()
    assert not np.allclose(np.linalg.norm(model.wv.vectors, axis=1), 1)
    with pytest.warns(DeprecationWarning):
        model.init_sims(replace=True)
    np.testing.assert_allclose(np.linalg.norm(model._state.weight_in, axis=1), 1, rtol=1e-5)
    with pytest.warns(UserWarning, match=r"total_examples=3 is not what was counted, 100, by which"):
        model.train(text, total_examples=3, epochs=1)
    with pytest.warns(UserWarning, match=r"total_words=3 is not what was counted, 1,000"):
        model.train(text, total_words=3, epochs=1)
    with pytest.warns(UserWarning, match="queue_factor has no effect"):
        model.train(text, epochs=1, queue_factor=3)


# ---- more text later


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_more_words_leave_the_others_as_they_are(options):
    model = Word2Vec(sentences(), **{**OPTIONS, **options})
    wv, before, counts = model.wv, tables(model), model.wv.counts.copy()
    more = [["w1", "new", "w2"], ["new", "newer", "w1"]]
    model.build_vocab(more, update=True)
    assert model.wv is wv and wv.index_to_key[16:] == ["new", "newer"] and len(wv.vectors) == 18
    assert wv.get_vecattr("w1", "count") == counts[wv.get_index("w1")] + 2
    assert wv.get_vecattr("newer", "count") == 1
    for name, table in tables(model).items():
        np.testing.assert_array_equal(table[: len(before[name])], before[name])
        assert len(table) == 18 - (name == "weight_inner")
        assert (table[16:].any(axis=1) == (name == "weight_in")).all()
    fresh = Word2Vec(**{**OPTIONS, **options})
    fresh.build_vocab([[f"w{i}" for i in range(18)]])
    np.testing.assert_array_equal(wv.vectors[16:], fresh.wv.vectors[16:])
    model.train(more * 50, epochs=3)
    assert np.isfinite(model.wv.vectors).all() and (model.wv.vectors[:16] != before["weight_in"][:, :20]).any()


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_gensims_crashes(options, tmp_path):
    """gensim's issues 1019 and 2519: new text without the old words, after loading, again and again, in threads."""
    model = Word2Vec(sentences(), **{**OPTIONS, **options, "workers": 3})
    for turn in range(4):
        path = tmp_path / "word2vec.model"
        model.save(path)
        model = Word2Vec.load(path)
        more = [[f"only{turn}", f"here{turn}", f"and{turn}"] for _ in range(20)]
        model.build_vocab(more, update=True)
        model.train(more, total_examples=model.corpus_count, epochs=model.epochs)
        model.train(sentences(seed=turn), epochs=1)
    assert len(model.wv) == 16 + 12 and np.isfinite(model.wv.vectors).all()
    assert len(model.wv.most_similar("only3")) == 10


@pytest.mark.parametrize("mode", ["fasttext", "floret"])
def test_more_words_of_a_model_with_ngrams(mode, tmp_path):
    model = FastText(**{**OPTIONS, "epochs": 1}, bucket=50, mode=mode)
    model.build_vocab(sentences())
    before, words = model._state.weight_in.copy(), len(model.wv)
    rows = words if mode == "fasttext" else 0
    model.build_vocab([["w1", "newer", "newest"]], update=True)
    after = model._state.weight_in
    assert model.wv.index_to_key[words:] == ["newer", "newest"]
    np.testing.assert_array_equal(after[:rows], before[:rows])
    np.testing.assert_array_equal(after[-50:], before[-50:])
    assert len(after) == len(before) + (2 if rows else 0)
    model.train([["w1", "newer", "newest"]] * 20, epochs=1)
    model.save(tmp_path / "fasttext.model")
    again = FastText.load(tmp_path / "fasttext.model")
    np.testing.assert_allclose(again.wv["newest"], model.wv["newest"], rtol=1e-6)


def test_an_update_is_not_a_beginning():
    model = Word2Vec(**OPTIONS)
    with pytest.raises(RuntimeError, match="the model has no vocabulary yet"):
        model.build_vocab([["a"]], update=True)
    model.build_vocab([["a", "b"]])
    model.build_vocab_from_freq({"b": 2, "c": 3}, update=True)
    assert dict(zip(model.wv.index_to_key, model.wv.counts.tolist(), strict=True)) == {"a": 1, "b": 3, "c": 3}
    model.set_params(vector_size=10)
    with pytest.raises(ValueError, match="vector_size was changed to 10"):
        model.build_vocab([["d"]], update=True)


def test_words_are_added_by_an_update_only():
    model = Word2Vec(sentences(), **OPTIONS)
    with pytest.raises(TypeError, match=r"'new' cannot be added to a model's vectors: build_vocab\(..., update=True\)"):
        model.wv.add_vector("new", np.ones(20))
    model.wv["w3"] = np.ones(20)
    assert (model._state.weight_in[model.wv.get_index("w3"), :20] == 1).all()
    model.wv.vectors = np.zeros((16, 20))
    assert not model._state.weight_in.any()


def test_order():
    model = Word2Vec(**OPTIONS)
    model.build_vocab([["a", "b"], ["c"]])
    model.build_vocab([["c", "c", "b", "d"]], update=True)
    model.freeze(["a"])
    model._state.weight_out[:, 0] = np.arange(4)
    rows = {word: model.wv[word].copy() for word in "abcd"}
    model.wv.sort_by_descending_frequency()
    assert model.wv.index_to_key == ["c", "b", "a", "d"] and model.wv.counts.tolist() == [3, 2, 1, 1]
    assert all((model.wv[word] == rows[word]).all() for word in "abcd")
    assert model.syn1neg[:, 0].tolist() == [2, 1, 0, 3] and model.wv.vectors_lockf.tolist() == [1, 1, 0, 1]
    assert model._state.vocabulary.words == model.wv.index_to_key


def test_another_models_vocabulary():
    first = Word2Vec(sentences(), **OPTIONS)
    second = Word2Vec(**{**OPTIONS, "vector_size": 8})
    second.reset_from(first)
    before = first.wv.vectors.copy()
    second.train(sentences())
    np.testing.assert_array_equal(first.wv.vectors, before)
    assert second.wv.index_to_key == first.wv.index_to_key and second.corpus_total_words == 1000


# ---- words that stay, vectors to start from


@pytest.mark.parametrize("options", [{"sg": 1}, {"sg": 0}, {"shared_negatives": False}], ids=str)
@pytest.mark.parametrize("workers", [1, 3])
def test_frozen_words_stay_bit_for_bit(options, workers):
    model = Word2Vec(**{**OPTIONS, **options, "workers": workers})
    model.build_vocab(sentences())
    model.freeze(["w3", "w5"])
    model.freeze(["w7"], 0.5)
    before = model.wv.vectors.copy()
    model.train(sentences(), epochs=2)
    stayed = (model.wv.vectors == before).all(axis=1)
    assert {word for word, same in zip(model.wv.index_to_key, stayed, strict=True) if same} == {"w3", "w5"}


def test_one_factor_for_all_words():
    model = Word2Vec(**OPTIONS)
    model.build_vocab(sentences())
    assert model.wv.vectors_lockf.tolist() == [1.0]
    model.wv.vectors_lockf = np.zeros(1)
    before = tables(model)
    model.train(sentences())
    np.testing.assert_array_equal(model.wv.vectors, before["weight_in"][:, :20])
    assert (model._state.weight_out != before["weight_out"]).any()


@pytest.mark.parametrize(
    ("factors", "error", "message"),
    [
        (np.ones(3), ValueError, r"vectors_lockf must have shape \(1,\) or \(16,\), got \(3,\)"),
        (np.array([np.nan] * 16), ValueError, "vectors_lockf must be finite and at least 0, got nan at position 0"),
        ([1] * 15 + [-1], ValueError, "got -1 at position 15"),
        (["a"], TypeError, "vectors_lockf must be an array of numbers"),
    ],
)
def test_factors_that_cannot_be(factors, error, message):
    model = Word2Vec(**OPTIONS)
    model.build_vocab(sentences())
    model.wv.vectors_lockf = factors
    with pytest.raises(error, match=message):
        model.train(sentences())


def test_words_to_freeze_are_known():
    model = Word2Vec(**OPTIONS)
    model.build_vocab(sentences())
    with pytest.raises(KeyError, match="'w99' is not in the vocabulary"):
        model.freeze(["w1", "w99"])
    with pytest.raises(TypeError, match="words must be a list of words, got 'w1'"):
        model.freeze("w1")
    with pytest.raises(ValueError, match="factor must be"):
        model.freeze(["w1"], -1)


@pytest.mark.parametrize("suffix", ["kv", "txt", "bin", "npy", "glove"])
def test_start_from_a_file_or_from_vectors(tmp_path, suffix):
    vectors = np.arange(60, dtype=np.float32).reshape(3, 20)
    known = KeyedVectors.from_words(["w2", "unheard", "w5"], vectors)
    path = tmp_path / f"vectors.{suffix}"
    known.save(path)
    plain = Word2Vec(**OPTIONS)
    plain.build_vocab(sentences())
    for pretrained in (known, path, str(path)):
        model = Word2Vec(**OPTIONS, pretrained=pretrained, pretrained_lockf=0)
        model.build_vocab(sentences())
        assert (model.wv["w2"] == vectors[0]).all() and (model.wv["w5"] == vectors[2]).all()
        others = [word for word in plain.wv.index_to_key if word not in known]
        np.testing.assert_array_equal(model.wv[others], plain.wv[others])
        assert "unheard" not in model.wv and model.wv.vectors_lockf.sum() == 14
    model.train(sentences())
    assert (model.wv["w2"] == vectors[0]).all()
    assert (Word2Vec(sentences(), **OPTIONS, pretrained=known).wv["w2"] != vectors[0]).any()


def test_new_words_start_from_pretrained_vectors_too():
    known = KeyedVectors.from_words(["w2", "later"], np.eye(2, 20, dtype=np.float32))
    model = Word2Vec(sentences(), **OPTIONS, pretrained=known)
    trained = model.wv["w2"].copy()
    model.build_vocab([["later", "w2"]], update=True)
    assert (model.wv["later"] == known["later"]).all() and (model.wv["w2"] == trained).all()


def test_vectors_that_are_no_start(tmp_path):
    with pytest.raises(ValueError, match="pretrained must have vectors of vector_size=20, got 3"):
        Word2Vec(sentences(), **OPTIONS, pretrained=KeyedVectors.from_words(["w1"], np.ones((1, 3))))
    with pytest.raises(TypeError, match="pretrained must be KeyedVectors or a path, got 3"):
        Word2Vec(sentences(), **OPTIONS, pretrained=3)
    with pytest.raises(ValueError, match="must be finite, got NaN or infinity for 'w1'"):
        Word2Vec(sentences(), **OPTIONS, pretrained=KeyedVectors.from_words(["w1"], np.full((1, 20), np.nan)))
    with pytest.warns(UserWarning, match="pretrained has none of the vocabulary's 16 words, such as 'w"):
        Word2Vec(sentences(), **OPTIONS, pretrained=KeyedVectors.from_words(["W1"], np.ones((1, 20))))
    with pytest.raises(FileNotFoundError, match="no-such-file"):
        Word2Vec(sentences(), **OPTIONS, pretrained=tmp_path / "no-such-file.txt")
    model = Word2Vec(**OPTIONS)
    model.build_vocab(sentences())
    KeyedVectors.from_words(["w1"], np.ones((1, 3))).save(tmp_path / "small.txt")
    with pytest.raises(ValueError, match=r"small\.txt must have vectors of vector_size=20, got 3"):
        model.wv.intersect_word2vec_format(tmp_path / "small.txt")


def test_factors_are_saved_and_copied(tmp_path):
    model = Word2Vec(**OPTIONS)
    model.build_vocab(sentences())
    model.freeze(["w3"])
    model.save(tmp_path / "model.safetensors")
    wanted = model.wv.vectors_lockf.tolist()
    for other in (
        Word2Vec.load(tmp_path / "model.safetensors"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        assert other.wv.vectors_lockf.tolist() == wanted and other.wv._state is other._state
        before = other.wv["w3"].copy()
        other.train(sentences())
        assert (other.wv["w3"] == before).all()
    assert "lockf" not in Word2Vec(sentences(), **OPTIONS)._state.to_tensors()[0]


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda wv: pickle.loads(pickle.dumps(wv))])
def test_a_copy_of_the_vectors_is_of_the_plain_kind(copied):
    model = Word2Vec(sentences(), **OPTIONS)
    other = copied(model.wv)
    assert type(other) is KeyedVectors
    before = other.vectors.copy()
    model.train(sentences())
    np.testing.assert_array_equal(other.vectors, before)


# ---- what comes out


def test_input_output_and_their_sum(tmp_path):
    model = Word2Vec(sentences(), **OPTIONS)
    found = {which: model.to_keyed_vectors(which) for which in ("input", "output", "sum")}
    np.testing.assert_array_equal(found["input"].vectors, model.wv.vectors)
    np.testing.assert_array_equal(found["output"].vectors, model.syn1neg)
    np.testing.assert_array_equal(found["sum"].vectors, model.wv.vectors + model.syn1neg)
    found["input"].vectors[:] = 0
    assert model.wv.vectors.any() and found["sum"].counts is not None
    with pytest.raises(ValueError, match="which must be one of 'input', 'output', 'sum', got 'both'"):
        model.to_keyed_vectors("both")
    tree = Word2Vec(**OPTIONS, hs=1, negative=0)
    tree.build_vocab(sentences())
    with pytest.raises(ValueError, match="which='sum' needs output vectors"):
        tree.to_keyed_vectors("sum")


def test_gensim_predicts_the_same():
    models = pytest.importorskip("gensim.models", reason="gensim is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cbow_mean in (0, 1):
            theirs = models.Word2Vec(
                sentences(), vector_size=20, min_count=1, workers=1, cbow_mean=cbow_mean, alpha=0.5
            )
            ours = Word2Vec(**{**OPTIONS, "sg": 0}, cbow_mean=cbow_mean)
            ours.build_vocab_from_freq({word: theirs.wv.get_vecattr(word, "count") for word in theirs.wv.index_to_key})
            rows = [theirs.wv.get_index(word) for word in ours.wv.index_to_key]
            ours.wv.vectors = theirs.wv.vectors[rows]
            ours._state.weight_out[:, :20] = theirs.syn1neg[rows]
            for context in (["w1"], ["w1", "w2", "unheard"], [3]):
                found, wanted = ours.predict_output_word(context, 5), theirs.predict_output_word(context, 5)
                assert [p for _, p in found] == pytest.approx([p for _, p in wanted], rel=1e-4)
                assert set(dict(found)) == set(dict(wanted))
            assert ours.predict_output_word(["unheard"]) is theirs.predict_output_word(["unheard"]) is None
    tree = Word2Vec(**OPTIONS, hs=1, negative=0)
    tree.build_vocab(sentences())
    with pytest.raises(RuntimeError, match="needs negative sampling"):
        tree.predict_output_word(["w1"])


@pytest.mark.parametrize("sg", [0, 1])
def test_gensim_scores_the_same(sg, monkeypatch):
    """With gensim's vectors on its tree, which is another one, but as good."""
    from fastemb.trainers import prediction

    models = pytest.importorskip("gensim.models", reason="gensim is not installed")
    text = sentences()
    options = {"vector_size": 20, "min_count": 1, "workers": 1, "sg": sg, "hs": 1, "negative": 0}
    theirs = models.Word2Vec(text, **options, alpha=0.2)
    ours = Word2Vec(**options)
    ours.build_vocab_from_freq({word: theirs.wv.get_vecattr(word, "count") for word in theirs.wv.index_to_key})
    rows = [theirs.wv.get_index(word) for word in ours.wv.index_to_key]
    ours.wv.vectors = theirs.wv.vectors[rows]
    ours._state.weight_inner[:, :20] = theirs.syn1[:-1]
    from fastemb.engine.huffman import HuffmanTree

    codes = [theirs.wv.get_vecattr(row, "code") for row in rows]
    points = [theirs.wv.get_vecattr(row, "point") for row in rows]
    offsets = np.concatenate([[0], np.cumsum([len(code) for code in codes])])
    tree = HuffmanTree(np.concatenate(points).astype(np.int32), np.concatenate(codes).astype(np.uint8), offsets)
    ours._paths = lambda: tree
    some = [*text[:5], ["w1", "unheard", "w2"], ["unheard"], ["w3"]]
    # gensim's table holds log(sigmoid(x)) at 1000 places from -6 on and is read at 83 places a unit, not 1000 / 12.
    table = np.log(1 / (1 + np.exp(6 - np.arange(1000) * 0.012)))
    exact = prediction.np.logaddexp
    monkeypatch.setattr(prediction.np, "logaddexp", lambda _, x: -table[((6 - x) * 83).astype(int)])
    as_gensim_reads = ours.score(some)
    monkeypatch.setattr(prediction.np, "logaddexp", exact)
    np.testing.assert_allclose(as_gensim_reads, theirs.score(some, total_sentences=len(some)), rtol=1e-4)
    np.testing.assert_allclose(ours.score(some), as_gensim_reads, rtol=0.03)
    assert len(ours.score(some, total_sentences=3)) == 3
    with pytest.raises(RuntimeError, match="score needs hierarchical softmax"):
        Word2Vec(text, **OPTIONS).score(text)
