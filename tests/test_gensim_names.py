"""Every public name and argument of gensim's classes is here, or is left out for a reason that is told."""

import inspect
import warnings

import numpy as np
import pytest

import fastemb

TEXTS = [["human", "interface", "computer"], ["user", "interface", "human"], ["graph", "trees", "human"]] * 3

INTERNAL = "how gensim works inside"
LOG = "gensim's log of what was done with an object"
TRAINING = "how gensim's training works inside"
OLDER = "given up by gensim 4 and None there: an error tells where to look"
DOCUMENTS = "of vectors of documents, which are not here"
FREEZE = "freeze(words) and wv.vectors_lockf are for words; n-grams are trained for all words together"

LEFT_OUT = {
    "add_lifecycle_event": LOG,
    "lifecycle_events": LOG,
    "add_null_word": TRAINING,
    "create_binary_tree": TRAINING,
    "cum_table": TRAINING,
    "init_weights": TRAINING,
    "make_cum_table": TRAINING,
    "min_alpha_yet_reached": TRAINING,
    "prepare_weights": TRAINING,
    "random": TRAINING,
    "seeded_vector": TRAINING,
    "train_count": TRAINING,
    "total_train_time": "the callbacks' progress tells it",
    "update_weights": TRAINING,
    "effective_min_count": "min(wv.counts) tells what max_final_vocab came to",
    "layer1_size": "vector_size by another name",
    "running_training_loss": "get_latest_training_loss() returns it",
    "load_fasttext_format": "given up by gensim 4: load_facebook_model",
    "load_binary_data": "given up by gensim 4: load_facebook_vectors",
    "index2entity": OLDER,
    "index2word": OLDER,
    "vectors_norm": OLDER,
    "vocab": OLDER,
    "log_accuracy": INTERNAL,
    "log_evaluate_word_pairs": INTERNAL,
    "mapfile_path": INTERNAL,
    "next_index": INTERNAL,
    "resize_vectors": INTERNAL,
    "similarity_unseen_docs": "raises NotImplementedError in gensim",
    "buckets_word": INTERNAL,
    "compatible_hash": INTERNAL,
    "init_post_load": INTERNAL,
    "recalc_char_ngram_buckets": INTERNAL,
    "vectors_ngrams_lockf": FREEZE,
    "vectors_vocab_lockf": FREEZE,
}
FILES = "files are safetensors or JSON, and not pickles"
ARGUMENTS_LEFT_OUT = {
    ("KeyedVectors", "count"): "add_vectors makes the room",
    ("KeyedVectors", "dtype"): "vectors are float32; quantize makes others",
    ("KeyedVectors", "mapfile_path"): INTERNAL,
    ("FastTextKeyedVectors", "vector_size"): "made by FastText, or read from a file",
    ("FastTextKeyedVectors", "min_n"): "made by FastText, or read from a file",
    ("FastTextKeyedVectors", "max_n"): "made by FastText, or read from a file",
    ("FastTextKeyedVectors", "bucket"): "made by FastText, or read from a file",
    ("FastTextKeyedVectors", "count"): "made by FastText, or read from a file",
    ("FastTextKeyedVectors", "dtype"): "made by FastText, or read from a file",
    ("get_vector", "word"): "called key, as in KeyedVectors",
    ("load", "rethrow"): "what cannot be read is always an error",
    ("load", "fname"): "called path",
    ("load", "fname_or_handle"): "called path",
    ("save", "fname_or_handle"): "called path",
    ("save", "separately"): FILES,
    ("save", "sep_limit"): FILES,
    ("save", "ignore"): FILES,
    ("save", "pickle_protocol"): FILES,
    ("score", "chunksize"): TRAINING,
    ("score", "queue_factor"): TRAINING,
    ("score", "report_delay"): TRAINING,
    ("save_facebook_model", "encoding"): "names are UTF-8, as Facebook's program writes them",
    ("save_facebook_model", "lr_update_rate"): "unused by gensim",
    ("save_facebook_model", "word_ngrams"): "unused by gensim",
    ("load_facebook_model", "encoding"): "names are UTF-8, as Facebook's program writes them",
    ("load_facebook_vectors", "encoding"): "names are UTF-8, as Facebook's program writes them",
}
OF_MODELS = {"intersect_word2vec_format"}  # and not of vectors without one


def trained(fasttext, word2vec, phrases_class):
    """Return an object of each class by its name."""
    options = {"vector_size": 4, "min_count": 1, "epochs": 1, "workers": 1}
    models = [word2vec(TEXTS, **options), fasttext(TEXTS, bucket=20, **options)]
    phrases = phrases_class(TEXTS, min_count=1, threshold=0.1)
    objects = [*models, phrases, phrases.freeze()]
    vectors = {"KeyedVectors": models[0].wv, "FastTextKeyedVectors": models[1].wv}
    return {type(one).__name__: one for one in objects} | vectors


@pytest.fixture(scope="module")
def gensims():
    pytest.importorskip("gensim", reason="gensim is not installed")
    from gensim.models import FastText, Phrases, Word2Vec

    return trained(FastText, Word2Vec, Phrases)


@pytest.fixture(scope="module")
def ours():
    return trained(fastemb.FastText, fastemb.Word2Vec, fastemb.Phrases)


CLASSES = ["Word2Vec", "FastText", "KeyedVectors", "FastTextKeyedVectors", "Phrases", "FrozenPhrases"]


@pytest.mark.parametrize("name", CLASSES)
def test_every_name_is_here_or_left_out(gensims, ours, name):
    public = {attribute for attribute in dir(gensims[name]) if not attribute.startswith("_")}
    missing = {attribute for attribute in public - LEFT_OUT.keys() if not hasattr(ours[name], attribute)}
    assert missing <= (OF_MODELS if name == "FastTextKeyedVectors" else set())
    if name in ("Phrases", "FrozenPhrases"):
        return
    assert not {attribute for attribute in public & LEFT_OUT.keys() if hasattr(ours[name], attribute)}
    for attribute in public & {"vocab", "index2word", "index2entity", "vectors_norm"}:
        with pytest.raises(AttributeError, match="as in gensim 4: see"):
            getattr(ours[name], attribute)


def unknown_arguments(theirs, function):
    accepted = inspect.signature(function).parameters
    return {
        parameter
        for parameter, how in inspect.signature(theirs).parameters.items()
        if parameter not in accepted and how.kind not in (how.VAR_POSITIONAL, how.VAR_KEYWORD)
    }


@pytest.mark.parametrize("name", CLASSES)
def test_every_argument_is_here_or_left_out(gensims, name):
    theirs, mine = type(gensims[name]), getattr(fastemb, name)
    assert not {one for one in unknown_arguments(theirs, mine) if (name, one) not in ARGUMENTS_LEFT_OUT}
    for attribute, function in inspect.getmembers(theirs, callable):
        if attribute.startswith("_") or attribute in LEFT_OUT or not hasattr(mine, attribute):
            continue
        for argument in unknown_arguments(function, getattr(mine, attribute)):
            assert (attribute, argument) in ARGUMENTS_LEFT_OUT, f"{name}.{attribute}({argument}=)"


def test_functions_for_facebooks_files(gensims, tmp_path):
    from gensim.models import fasttext

    path = str(tmp_path / "model")
    for name in ("load_facebook_model", "load_facebook_vectors", "save_facebook_model"):
        for argument in unknown_arguments(getattr(fasttext, name), getattr(fastemb, name)):
            assert (name, argument) in ARGUMENTS_LEFT_OUT
    fasttext.save_facebook_model(gensims["FastText"], path)
    for vectors in (fastemb.load_facebook_vectors(path), fastemb.load_facebook_model(path).wv):
        for word in ("human", "humans"):
            np.testing.assert_allclose(vectors[word], gensims["FastText"].wv[word], atol=1e-6)
        sentence = ["human", "humans", "trees"]
        wanted = gensims["FastText"].wv.get_sentence_vector(sentence)
        np.testing.assert_allclose(vectors.get_sentence_vector(sentence), wanted, atol=1e-6)
    model = fastemb.FastText(TEXTS, vector_size=4, min_count=1, epochs=1, bucket=20)
    fastemb.save_facebook_model(model, path)
    np.testing.assert_allclose(fasttext.load_facebook_vectors(path)["humans"], model.wv["humans"], atol=1e-6)


def test_older_methods(gensims, ours):
    kv = fastemb.KeyedVectors(np.array(gensims["KeyedVectors"].vectors), ours["KeyedVectors"].vocabulary)
    theirs = gensims["KeyedVectors"].__class__(4)
    theirs.add_vectors(kv.index_to_key, kv.vectors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        np.testing.assert_array_equal(kv.word_vec("human"), theirs.word_vec("human"))
        assert kv.words_closer_than("human", "trees") == theirs.words_closer_than("human", "trees")
        for vectors in (kv, theirs):
            vectors.init_sims(replace=True)
    np.testing.assert_allclose(kv.vectors, theirs.vectors, atol=1e-6)
    with pytest.warns(DeprecationWarning, match="init_sims is deprecated"):
        kv.init_sims()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fastemb.Word2Vec(size=3), r"Word2Vec\(\) has no argument 'size': it is called vector_size here"),
        (lambda: fastemb.FastText(iter=3), "it is called epochs here"),
        (lambda: fastemb.FastText(lr=0.1), "it is called alpha here"),
        (lambda: fastemb.FastTextClassifier(alpha=0.1), "it is called lr here"),
        (lambda: fastemb.GloVe(learning_rate=0.1), "it is called eta here"),
        (lambda: fastemb.Word2Vec(model="cbow"), "sg=1 is skip-gram, sg=0 is CBOW"),
        (lambda: fastemb.Word2Vec(vectorsize=3), "'vectorsize'; did you mean vector_size?"),
        (lambda: fastemb.Phrases(common_terms=["of"]), "it is called connector_words here"),
        (lambda: fastemb.Word2Vec(nothing_like_it=1), "has no argument 'nothing_like_it'$"),
    ],
)
def test_arguments_of_other_names(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_attributes_of_other_names(ours):
    for name, where in {"most_similar": "wv.most_similar", "iter": "epochs", "vocabulary": "wv.key_to_index"}.items():
        with pytest.raises(AttributeError, match=f"Word2Vec has no {name}: see {where}"):
            getattr(ours["Word2Vec"], name)
    with pytest.raises(AttributeError, match="'Word2Vec' object has no attribute 'nothing'"):
        _ = ours["Word2Vec"].nothing
    with pytest.raises(AttributeError, match="has no syn1"):  # a property's own error
        _ = ours["Word2Vec"].syn1


def test_tables_that_are_appended(tmp_path):
    words = fastemb.KeyedVectors.from_words(["a", "b"], np.eye(2), [2, 1])
    more = fastemb.KeyedVectors.from_words(["c"], np.ones((1, 2)), [1])
    for binary in (False, True):
        path = tmp_path / f"vectors.{binary}"
        words.save_word2vec_format(path, binary=binary, total_vec=3)
        with pytest.raises(ValueError, match=r"line 1 claims 3|ends in row 2|truncated"):
            fastemb.KeyedVectors.load_word2vec_format(path, binary=binary)
        more.save_word2vec_format(path, binary=binary, append=True, write_header=False)
        found = fastemb.KeyedVectors.load_word2vec_format(path, binary=binary)
        assert found.index_to_key == ["a", "b", "c"]
        np.testing.assert_array_equal(found.vectors, [[1, 0], [0, 1], [1, 1]])
    with pytest.raises(ValueError, match=r"append=True works only with files that are not packed"):
        more.save_word2vec_format(tmp_path / "x.gz", append=True)
    with pytest.raises(ValueError, match=r"total_vec must be"):
        words.save_word2vec_format(tmp_path / "x", total_vec=1)
