"""Word2Vec: what it learns, repeats, saves, and does when it is stopped."""

import copy
import os
import pickle
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from fastemb import KeyedVectors, Word2Vec
from fastemb.corpus.reader import read_corpus
from fastemb.engine.backend import kernels
from fastemb.engine.huffman import huffman_tree
from fastemb.engine.sampling import keep_probabilities, noise_table, sigmoid_table
from fastemb.trainers import loop
from fastemb.trainers.schedule import Rate
from fastemb.trainers.tables import allocate_table, uniform_table


def sentences(number=300, seed=0):
    """Two topics whose words never meet."""
    random = np.random.default_rng(seed)
    topics = [[f"{topic}{i}" for i in range(8)] for topic in ("sea", "sky")]
    return [[str(word) for word in random.choice(topics[i % 2], 12)] for i in range(number)]


def small(**options):
    return {"vector_size": 20, "min_count": 1, "workers": 1, "epochs": 2, "sample": 0, "sg": 1, **options}


@pytest.mark.parametrize("options", [{}, {"sg": 0}, {"hs": 1, "negative": 0}, {"sg": 0, "hs": 1, "negative": 0}])
def test_it_learns_which_words_meet(options):
    model = Word2Vec(sentences(), **small(epochs=10, workers=2, **options))
    near = [word for word, _ in model.wv.most_similar("sea0", topn=7)]
    assert {word[:3] for word in near} == {"sea"}
    assert model.losses[-1] < model.losses[0] < np.log(2)


def test_gensims_script_runs_with_another_import():
    model = Word2Vec(vector_size=20, window=5, min_count=1, workers=1, sg=1, negative=5, epochs=3, seed=1)
    model.build_vocab(sentences())
    before = model.wv["sea0"].copy()
    trained, raw = model.train(sentences(), total_examples=model.corpus_count, epochs=model.epochs)
    assert model.corpus_count == 300 and model.corpus_total_words == 3600
    assert raw == 3 * 3600 and 0 < trained <= raw
    assert (model.wv["sea0"] != before).any()
    assert model.wv.vectors.shape == model.syn1neg.shape == (16, 20)
    assert model.wv.get_vecattr("sea0", "count") == sum(s.count("sea0") for s in sentences())


@pytest.mark.parametrize("shared", [True, False])
def test_one_worker_repeats_bit_for_bit(shared):
    first, second = (Word2Vec(sentences(), **small(shared_negatives=shared)) for _ in range(2))
    np.testing.assert_array_equal(first.wv.vectors, second.wv.vectors)
    assert first.losses == second.losses
    other = Word2Vec(sentences(), **small(shared_negatives=shared, seed=2))
    assert (first.wv.vectors != other.wv.vectors).any()


def test_the_hash_seed_does_not_matter():
    code = """
        import hashlib
        from fastemb import Word2Vec
        model = Word2Vec([["a", "b", "c"], ["b", "d"]] * 50, vector_size=8, min_count=1, epochs=2, workers=1)
        print(hashlib.sha256(model.wv.vectors.tobytes()).hexdigest(), model.wv.index_to_key)
    """
    runs = {
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (0, 1)
    }
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("model", "options", "mode"),
    [
        ("skipgram", {"negative": 7}, ()),
        ("skipgram", {"shared_negatives": False}, (6.0, 1000 / 12, True, False, False, False)),
        ("skipgram", {"hs": 1}, ()),
        ("cbow", {"negative": 7}, (True, False)),
        ("cbow", {"cbow_update": "corrected"}, (True, True)),
        ("cbow", {"cbow_mean": 0}, (False, False)),
        (
            "cbow",
            {"hs": 1, "negative": 0, "shared_negatives": False},
            (True, False, 6.0, 1000 / 12, True, False, False, False),
        ),
    ],
)
def test_one_worker_equals_the_reference(model, options, mode, monkeypatch):
    monkeypatch.setattr(loop, "RANGES_PER_WORKER", 1)  # one part of the text has one order
    options = small(window=3, sample=1e-2, vector_size=12, epochs=2, alpha=0.03, sg=int(model == "skipgram"), **options)
    text = sentences(12)
    trained = Word2Vec(text, **options)
    shared, negative = options.get("shared_negatives", True), options.get("negative", 5)
    function = getattr(kernels("reference", model), f"{model}_{'shared' if shared else 'pairwise'}")
    cbow = mode[:2] if model == "cbow" else ()
    how = (64,) if shared else (sigmoid_table(6.0, 1000), mode[-6:])
    with read_corpus(text, min_count=1) as corpus:
        counts = corpus.vocabulary.counts
        tables = uniform_table(len(counts), 12, 1), allocate_table(len(counts), 12)
        inner = allocate_table(len(counts) - 1, 12)
        tree = (*huffman_tree(counts), inner) if options.get("hs") else None
        rate = Rate(0.03, 1e-4, 2, len(corpus.ids))
        losses = []
        for epoch in range(2):
            result = np.zeros(3)
            seed = kernels("reference", "random").random_u64(1, epoch)
            function(
                corpus.ids, corpus.offsets, 0, len(corpus.offsets) - 1, *tables, None, None, tree,
                keep_probabilities(counts, 1e-2), noise_table(counts, 0.75), 3, True, negative, *rate.line(epoch), seed,
                *cbow, *how, result,
            )  # fmt: skip
            losses.append(result[0] / result[1])
    np.testing.assert_allclose(trained.wv.vectors, tables[0][:, :12], atol=1e-5)
    np.testing.assert_allclose(trained.losses, losses, rtol=1e-5)
    if negative:
        np.testing.assert_allclose(trained.syn1neg, tables[1][:, :12], atol=1e-5)
    if tree is not None:
        np.testing.assert_allclose(trained.syn1, inner[:, :12], atol=1e-5)
    assert hasattr(trained, "syn1neg") == (negative > 0) and hasattr(trained, "syn1") == (tree is not None)


def test_file_list_and_generator_are_one(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(map(" ".join, sentences())))
    models = [
        Word2Vec(sentences(), **small()),
        Word2Vec((sentence for sentence in sentences()), **small()),
        Word2Vec(corpus_file=path, **small()),
        Word2Vec(corpus_file=str(path), max_memory=0, **small()),
        Word2Vec(**small()).fit(sentences()),
        Word2Vec(**small()).fit(corpus_file=path),
    ]
    for model in models[1:]:
        np.testing.assert_array_equal(model.wv.vectors, models[0].wv.vectors)
        assert model.wv.index_to_key == models[0].wv.index_to_key


def test_save_load_and_go_on(tmp_path):
    model = Word2Vec(sentences(), **small(window=3, alpha=0.03))
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = Word2Vec.load(path)
    assert loaded.get_params() == model.get_params()
    assert loaded.losses == model.losses and loaded.corpus_total_words == model.corpus_total_words
    for again in (model, loaded):
        again.train(sentences(seed=1), epochs=1)
    np.testing.assert_array_equal(loaded.wv.vectors, model.wv.vectors)
    np.testing.assert_array_equal(loaded.syn1neg, model.syn1neg)
    assert len(loaded.losses) == 3
    model.save(path)
    vectors = KeyedVectors.load(path)
    np.testing.assert_array_equal(vectors["sky3"], model.wv["sky3"])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_a_whole_model_of_its_own(copied):
    model = Word2Vec(sentences(), **small())
    before = model.wv.vectors.copy()
    other = copied(model)
    other.train(sentences())
    assert np.array_equal(model.wv.vectors, before)
    assert not np.array_equal(other.wv.vectors, before)
    model.train(sentences())
    assert np.array_equal(model.wv.vectors, other.wv.vectors)


def test_an_epoch_has_its_own_random_numbers():
    model = Word2Vec(sentences(), **small(epochs=1))
    first = model.losses[0]
    model.train(sentences(), epochs=1, start_alpha=1e-9, end_alpha=0)
    model.train(sentences(), epochs=1, start_alpha=1e-9, end_alpha=0)
    assert model.losses[1] != model.losses[2]
    assert model.losses[1] == pytest.approx(model.losses[2], rel=0.02) and model.losses[1] < first


def test_training_on_leaves_new_words_out():
    model = Word2Vec(sentences(), **small())
    model.train([["sea0", "zebra", "sea1"]] * 10, epochs=1)
    assert "zebra" not in model.wv
    with pytest.raises(ValueError, match="none of the 2 words read is in the vocabulary"):
        model.train([["zebra", "gnu"]])


def test_scikit_learns_way():
    model = Word2Vec(vector_size=10, min_count=1)
    assert model.set_params(window=3, epochs=1).get_params()["window"] == 3
    clone = Word2Vec(**model.get_params())
    assert clone.get_params() == model.get_params()
    assert clone.fit(sentences(10)) is clone
    with pytest.raises(ValueError, match=r"parameter must be one of .*'widow'"):
        model.set_params(widow=3)
    with pytest.raises(ValueError, match="window must be an integer in \\[1, 100\\], got 0"):
        model.set_params(window=0)
    assert model.window == 3


class Recorder:
    def __init__(self):
        self.events, self.progress = [], []

    def on_train_begin(self, model):
        self.events.append("train begin")

    def on_epoch_begin(self, model):
        self.events.append("epoch begin")

    def on_epoch_end(self, model):
        self.events.append(f"epoch end {len(model.losses)}")

    def on_train_end(self, model):
        self.events.append("train end")

    def on_progress(self, model, progress):
        assert threading.current_thread() is threading.main_thread()
        self.progress.append(progress)


@pytest.mark.parametrize("workers", [1, 2])
def test_callbacks(workers):
    recorder = Recorder()
    model = Word2Vec(sentences(), **small(workers=workers, callbacks=[recorder, object()]))
    assert recorder.events == ["train begin", "epoch begin", "epoch end 1", "epoch begin", "epoch end 2", "train end"]
    stages = [progress.stage for progress in recorder.progress]
    assert stages[0] == "scanning" and stages[-1] == "training"
    last = recorder.progress[-1]
    assert last.words == last.total_words == 2 * 3600 and last.epochs == 2 and last.epoch == 1
    assert last.alpha == 1e-4 and last.loss == model.losses[-1] and last.words_per_second > 0
    assert recorder.progress[0].loss != recorder.progress[0].loss


class Stop:
    def on_epoch_end(self, model):
        raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [1, 3])
def test_an_interrupt_leaves_a_usable_model(workers, tmp_path):
    model = Word2Vec(**small(workers=workers, epochs=50, callbacks=[Stop()]))
    with pytest.raises(KeyboardInterrupt):
        model.fit(sentences())
    assert len(model.losses) == 1 and np.isfinite(model.wv.vectors).all()
    assert len(model.wv.most_similar("sea0")) == 10
    model.save(tmp_path / "model.safetensors")
    model.callbacks = ()
    model.train(sentences(), epochs=1)
    assert len(model.losses) == 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fastemb")]


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_training_within_a_second(workers):
    """A second of each thread's own: on a busy machine it may take long to come."""
    code = f"""
        import os, signal, threading, time
        from fastemb import Word2Vec
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
        began = []
        def interrupt():
            time.sleep(0.3)
            began.append(time.process_time())
            os.kill(os.getpid(), signal.SIGINT)
        thread = threading.Thread(target=interrupt)
        class Start:
            def on_epoch_begin(self, model):
                if not model.losses:
                    thread.start()
        model = Word2Vec(min_count=1, epochs=100_000, workers={workers}, callbacks=[Start()])
        try:
            model.fit([[str(i % 50 + j) for j in range(40)] for i in range(20_000)])
        except KeyboardInterrupt:
            print(model.wv["7"].shape == (100,), time.process_time() - began[0])
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    is_whole, seconds = subprocess.run(command, capture_output=True, text=True, timeout=600).stdout.split()
    assert is_whole == "True" and float(seconds) < workers


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("shared", [True, False])
def test_divergence_is_told(workers, shared):
    with pytest.raises(FloatingPointError, match=r"epoch \d+ after [\d,]+ words, at alpha=1e\+06; try a lower alpha"):
        Word2Vec(sentences(), **small(alpha=1e6, epochs=20, workers=workers, shared_negatives=shared))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("vector_size", 0, ValueError),
        ("vector_size", 10.5, TypeError),
        ("window", 101, ValueError),
        ("negative", -1, ValueError),
        ("hs", 2, ValueError),
        ("cbow_mean", "yes", ValueError),
        ("cbow_update", "new", ValueError),
        ("compat", "word2vec", ValueError),
        ("negative", 65, ValueError),
        ("alpha", 0, ValueError),
        ("alpha", float("nan"), ValueError),
        ("alpha", "0.1", TypeError),
        ("min_alpha", 1, ValueError),
        ("epochs", 0, ValueError),
        ("workers", 0, ValueError),
        ("workers", True, TypeError),
        ("seed", -1, ValueError),
        ("sample", -0.1, ValueError),
        ("min_count", -1, ValueError),
        ("ns_exponent", float("inf"), ValueError),
        ("max_sentence_length", 0, ValueError),
        ("sg", 2, ValueError),
    ],
)
def test_arguments_out_of_bounds_are_named(name, value, error):
    with pytest.raises(error, match=f"^{name} must be .*got "):
        Word2Vec(**{name: value})


def test_there_must_be_something_to_train():
    with pytest.raises(ValueError, match="hs or negative must be positive for training, got hs=0 and negative=0"):
        Word2Vec(hs=0, negative=0)


def test_the_classic_mistakes():
    with pytest.raises(TypeError, match=r"sentences must be .* a file's name goes into corpus_file="):
        Word2Vec("text.txt")
    with pytest.raises(TypeError, match="list"):
        Word2Vec(["the cat sat"])
    with pytest.raises(TypeError, match=r"corpus_file must be a path or '-', got \['text.txt'\]"):
        Word2Vec(corpus_file=["text.txt"])
    with pytest.raises(TypeError, match=r"sentences must be an iterable of lists of words, got 3"):
        Word2Vec(3)
    with pytest.raises(TypeError, match="lowercase must be True or False, got 'no'"):
        Word2Vec(lowercase="no")
    with pytest.raises(TypeError, match="got both"):
        Word2Vec([["a"]], corpus_file="x")
    with pytest.raises(TypeError, match="got neither"):
        Word2Vec().fit()
    with pytest.raises(RuntimeError, match="no vocabulary yet"):
        Word2Vec().train([["a"]])
    with pytest.raises(RuntimeError, match="no vocabulary yet"):
        _ = Word2Vec().wv
    with pytest.raises(FileNotFoundError, match=r"no-such-file\.txt"):
        Word2Vec(corpus_file="no-such-file.txt")


def test_numpys_numbers_are_numbers(tmp_path):
    numbers = {"vector_size": np.int64(8), "window": np.int32(3), "alpha": np.float32(0.03), "epochs": np.int8(1)}
    model = Word2Vec(sentences(), **small(**numbers, seed=np.uint8(2), sg=np.int64(1), shared_negatives=np.True_))
    model.save(tmp_path / "model.safetensors")
    assert Word2Vec.load(tmp_path / "model.safetensors").get_params() == model.get_params()


def test_another_vector_size_needs_a_fit(tmp_path):
    model = Word2Vec(sentences(), **small())
    model.set_params(vector_size=10)
    for act in (lambda: model.train(sentences()), lambda: model.save(tmp_path / "model.safetensors")):
        with pytest.raises(ValueError, match="changed to 10, and the model's vectors have 20 numbers"):
            act()
    assert model.syn1neg.shape == model.wv.vectors.shape
    assert model.fit(sentences()).wv.vector_size == 10


def test_names_of_a_models_file(tmp_path):
    model = Word2Vec(sentences(), **small())
    for name in ("word2vec.model", "model", "model.safetensors"):
        model.save(tmp_path / name)
        np.testing.assert_array_equal(Word2Vec.load(tmp_path / name).wv.vectors, model.wv.vectors)
        np.testing.assert_array_equal(KeyedVectors.load(tmp_path / name).vectors, model.wv.vectors)
    for suffix in ("bin", "txt", "vec", "npy"):
        with pytest.raises(ValueError, match=r"model\.wv\.save writes these"):
            model.save(tmp_path / f"model.{suffix}")
    model.wv.save(tmp_path / "vectors.bin")
    with pytest.raises(
        ValueError, match=r"not a model but vectors \(word2vec-binary\), which KeyedVectors\.load reads"
    ):
        Word2Vec.load(tmp_path / "vectors.bin")


def test_load_refuses_what_is_not_a_model(tmp_path):
    model = Word2Vec(sentences(), **small())
    model.wv.save(tmp_path / "vectors.safetensors")
    with pytest.raises(ValueError, match="not a Word2Vec model"):
        Word2Vec.load(tmp_path / "vectors.safetensors")
    model.save(tmp_path / "model.safetensors")
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[:-100])
    with pytest.raises(ValueError, match="model"):
        Word2Vec.load(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").write_bytes(content.replace(b"num_sentences", b"mum_sentences"))
    with pytest.raises(ValueError, match="a damaged Word2Vec model"):
        Word2Vec.load(tmp_path / "model.safetensors")


def test_one_word_and_short_sentences():
    with pytest.warns(UserWarning, match="no two words met in training"):
        model = Word2Vec([["a"], ["a"], []], **small())
    assert model.wv.index_to_key == ["a"] and np.isnan(model.losses[0])


def test_several_threads_train_models_at_once():
    wanted = Word2Vec(sentences(), **small()).wv.vectors
    results = {}

    def train(number):
        results[number] = Word2Vec(sentences(), **small(workers=1 + number % 2)).wv.vectors

    team = [threading.Thread(target=train, args=(number,)) for number in range(4)]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    np.testing.assert_array_equal(results[0], wanted)
    np.testing.assert_array_equal(results[2], wanted)
    assert np.isfinite(results[1]).all() and np.isfinite(results[3]).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_trains():
    code = """
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from fastemb import Word2Vec
        text = [["a", "b", "c"]] * 200
        options = dict(vector_size=8, min_count=1, epochs=2, workers=2)
        Word2Vec(text, **options)
        child = os.fork()
        if child == 0:
            Word2Vec(text, **options)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=600)
    assert ran.stdout == "0\n", ran.stderr


def test_quality_is_gensims(data, tmp_path):
    """On a million words of Wikipedia, the similarity of word pairs is as well predicted as by gensim's vectors."""
    gensim = pytest.importorskip("gensim.models", reason="gensim is not installed")
    import gzip

    words = gzip.decompress((data / "text" / "text8-prefix.txt.gz").read_bytes()).decode().split()
    text = tmp_path / "text.txt"
    text.write_text("\n".join(" ".join(words[i : i + 1000]) for i in range(0, len(words), 1000)))
    options = {"corpus_file": str(text), "vector_size": 50, "epochs": 3, "workers": 2, "sg": 1}
    pairs = data / "eval" / "EN-MEN-TR-3k.txt"
    ours = Word2Vec(**options).wv.evaluate_word_pairs(pairs)[1][0]
    theirs = gensim.Word2Vec(**options).wv.evaluate_word_pairs(str(pairs))[1][0]
    assert ours > theirs - 0.01
