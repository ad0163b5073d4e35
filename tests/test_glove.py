"""GloVe: what it learns, repeats, saves, and does when it is stopped."""

import copy
import pickle
import subprocess
import sys
import textwrap
import threading
from itertools import islice

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array, csr_matrix

from fastemb import GloVe, KeyedVectors
from fastemb.corpus.cooccurrence import Cooccurrence, count_cooccurrences
from fastemb.corpus.reader import read_corpus
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.backend import kernels
from fastemb.engine.parallel import ordered_map
from fastemb.formats.cooccurrence import read_vocabulary, write_cooccurrence, write_vocabulary
from fastemb.trainers import glove_blocks
from fastemb.trainers.glove_blocks import Blocks, block_order, most_workers
from fastemb.trainers.glove_state import GloVeState
from fastemb.trainers.glove_training import CLIP


def sentences(number=300, seed=0):
    """Two topics whose words never meet."""
    random = np.random.default_rng(seed)
    topics = [[f"{topic}{i}" for i in range(8)] for topic in ("sea", "sky")]
    return [[str(word) for word in random.choice(topics[i % 2], 12)] for i in range(number)]


def small(**options):
    return {"vector_size": 20, "window": 5, "min_count": 1, "epochs": 3, **options}


def mixed(number=400):
    """Sentences in which every word meets every other one."""
    random = np.random.default_rng(1)
    return [[f"w{word % 60}" for word in random.zipf(1.2, 20)] for _ in range(number)]


def same(models):
    for model in models[1:]:
        for name in ("word_vectors", "context_vectors", "word_biases", "context_biases"):
            np.testing.assert_array_equal(getattr(model, name), getattr(models[0], name))
        assert model.losses == models[0].losses and model.wv.index_to_key == models[0].wv.index_to_key


@pytest.fixture
def many_blocks(monkeypatch):
    """Cut even small matrices into many blocks, so that several threads train them."""
    monkeypatch.setattr(glove_blocks, "BLOCK_PAIRS", 20)


def test_it_learns_which_words_meet():
    text = [*sentences(), *(sea + sky for sea, sky in zip(sentences(10)[::2], sentences(10)[1::2], strict=True))]
    model = GloVe(text, **small(epochs=50, x_max=10))
    near = [word for word, _ in model.wv.most_similar("sea0", topn=7)]
    assert {word[:3] for word in near} == {"sea"}
    assert model.losses == sorted(model.losses, reverse=True) and model.losses[-1] < 0.1 * model.losses[0]
    assert model.corpus_count == 305 and model.corpus_total_words == 3720 and model.epochs_trained == 50
    assert model.wv.get_vecattr("sea0", "count") == sum(sentence.count("sea0") for sentence in text)


def test_the_model_is_the_papers():
    """After many epochs on a complete matrix, products of vectors plus biases are logarithms of counts."""
    matrix = np.exp(np.random.default_rng(0).normal(0, 1, (6, 6)))
    model = GloVe(vector_size=8, epochs=3000, x_max=1e-3, eta=0.1).fit_cooccurrence(csr_array(matrix))
    found = model.word_vectors @ model.context_vectors.T + model.word_biases[:, None] + model.context_biases
    np.testing.assert_allclose(found, np.log(matrix), atol=0.01)


def test_any_number_of_threads_gives_the_same_bits(many_blocks):
    models = [GloVe(mixed(), **small(workers=workers)) for workers in (1, 2, 3, 8)]
    with read_corpus(mixed(), min_count=1) as corpus:
        strata = Blocks.of_matrix(count_cooccurrences(corpus, window=5), 1, 1).num_strata
    assert most_workers(strata) >= 3
    same(models)
    other = GloVe(mixed(), **small(seed=2))
    assert (other.word_vectors != models[0].word_vectors).any()


def test_memory_and_sources_change_nothing(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(map(" ".join, sentences())))
    same(
        [
            GloVe(sentences(), **small()),
            GloVe((sentence for sentence in sentences()), **small()),
            GloVe(corpus_file=path, **small()),
            GloVe(corpus_file=str(path), max_memory=0, **small()),
            GloVe(**small()).fit(sentences()),
            GloVe(**small()).fit(corpus_file=path),
        ]
    )


@pytest.mark.parametrize("compat", [None, "glove", "glove-1.2"])
def test_training_equals_the_reference(many_blocks, compat):
    """The whole of it, step by step, in float64 and in the order of the blocks."""
    model = GloVe(sentences(40), **small(vector_size=6, compat=compat, eta=0.1, x_max=7.0, alpha=0.5))
    with read_corpus(sentences(40), min_count=1) as corpus:
        blocks = Blocks.of_matrix(count_cooccurrences(corpus, window=5), 1, 1)
        state = GloVeState.start(corpus.vocabulary, 6, 1, 1.0 if compat == "glove-1.2" else 0.1**2)
    state.word, state.context = state.word.astype(np.float64), state.context.astype(np.float64)
    assert blocks.num_strata > 1
    losses = []
    for epoch in range(3):
        loss = np.zeros(1)
        for block in block_order(blocks.num_strata, 1, epoch):
            kernels("reference", "glove").train(
                blocks.rows, blocks.cols, blocks.counts, blocks.starts[block], blocks.starts[block + 1],
                state.word, state.context, 7.0, 0.5, 0.1, 100.0, loss,
            )  # fmt: skip
        losses.append(loss[0] / len(blocks.rows))
    np.testing.assert_allclose(model.losses, losses, rtol=1e-4)
    for side in ("word", "context"):
        np.testing.assert_allclose(getattr(model, f"{side}_vectors"), state.vectors_of(side), atol=2e-4)
        np.testing.assert_allclose(getattr(model, f"{side}_biases"), state.biases_of(side), atol=2e-4)


@pytest.mark.parametrize("strata", [1, 2, 3, 5, 16, 31])
def test_blocks_that_share_rows_or_columns_are_far_apart(strata):
    order = list(block_order(strata, seed=3, epoch=4))
    assert sorted(order) == list(range(strata**2))
    assert strata < 3 or order != list(block_order(strata, seed=3, epoch=5))
    for share in (lambda block: block // strata, lambda block: block % strata):
        last = {}
        for place, block in enumerate(order):
            assert place - last.get(share(block), -strata) >= strata - 1
            last[share(block)] = place


@pytest.mark.parametrize("strata", [1, 2, 5, 9, 16])
def test_no_two_threads_meet_in_a_row(strata):
    """With as many threads as `most_workers` allows, blocks under way at one time share no row and no column."""
    workers = most_workers(strata)
    lock, under_way, most = threading.Lock(), [], [0]
    random = np.random.default_rng(0)
    naps = iter(random.exponential(1e-4, strata**2).tolist())
    meet = threading.Barrier(workers, timeout=100)  # of the first blocks, so that all threads are seen at work
    firsts = set(islice(block_order(strata, 0, 0), workers))

    def train(block):
        with lock:
            assert all(block // strata != b // strata and block % strata != b % strata for b in under_way)
            under_way.append(block)
            most[0] = max(most[0], len(under_way))
            nap = next(naps)
        if block in firsts:
            meet.wait()
        threading.Event().wait(nap)
        with lock:
            under_way.remove(block)

    for _ in ordered_map(train, block_order(strata, 0, 0), workers):
        pass
    assert most[0] == workers


@pytest.fixture(scope="module")
def counted():
    with read_corpus(sentences(), min_count=1) as corpus:
        return count_cooccurrences(corpus, window=5)


@pytest.fixture(scope="module")
def model():
    return GloVe(sentences(), **small())


class TestMatrix:
    def test_of_scipy(self, counted, model):
        words = counted.vocabulary.words
        matrix = counted.to_scipy()
        models = [model]
        for given in (matrix, csr_matrix(matrix), matrix.tocoo(), matrix.astype(np.float64)):
            models.append(GloVe(**small()).fit_cooccurrence(given, words))
        models.append(GloVe(**small()).fit_cooccurrence(counted))
        models.append(GloVe(**small()).fit_cooccurrence(counted, counted.vocabulary))
        same(models)
        assert counted.num_pairs, "the caller's matrix must stay"
        with_zero = matrix.copy()
        with_zero.data[0] = 0
        assert GloVe(**small()).fit_cooccurrence(with_zero, words).losses[0] != model.losses[0]
        assert GloVe(**small()).fit_cooccurrence(matrix).wv.index_to_key[:2] == ["0", "1"]

    def test_of_the_programs_files(self, counted, model, tmp_path):
        pairs, words = tmp_path / "cooccurrence.bin", tmp_path / "vocab.txt"
        write_cooccurrence(pairs, counted)
        write_vocabulary(words, counted.vocabulary)
        same(
            [
                model,
                GloVe(**small()).fit_cooccurrence(pairs, words),
                GloVe(**small(max_memory=0)).fit_cooccurrence(str(pairs), read_vocabulary(words)),
            ]
        )
        with pytest.raises(TypeError, match="vocabulary must be given with a file of co-occurrences"):
            GloVe().fit_cooccurrence(pairs)

    @pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, 1e-60, 1e300])
    def test_entries_that_are_no_counts(self, value):
        matrix = coo_array(([1.0, value], ([0, 1], [1, 0])), shape=(2, 2))
        with pytest.raises(ValueError, match=r"entries above 0 that a float32 holds, got .* at position \(1, 0\)"):
            GloVe().fit_cooccurrence(matrix)

    def test_shapes_that_do_not_fit(self):
        with pytest.raises(ValueError, match=r"must be square.* got shape \(2, 3\)"):
            GloVe().fit_cooccurrence(csr_array(np.ones((2, 3))))
        with pytest.raises(ValueError, match="must have a row a word, 3 in all, got 2"):
            GloVe().fit_cooccurrence(csr_array(np.ones((2, 2))), ["a", "b", "c"])
        with pytest.raises(TypeError, match="matrix must be a scipy sparse matrix, a Cooccurrence or a path, got list"):
            GloVe().fit_cooccurrence([[1, 2]])

    @pytest.mark.parametrize(
        ("offsets", "col", "message"),
        [([0, 1, 1], 2, r"columns in \[0, 2\)"), ([0, 1, 1], -1, r"at position \(0, -1\)"), ([0, 2, 1], 0, "offsets")],
    )
    def test_a_matrix_that_would_reach_outside_the_tables(self, offsets, col, message):
        words = Vocabulary.from_words(["a", "b"])
        matrix = Cooccurrence(np.array(offsets), np.array([col], np.int32), np.ones(1, np.float32), words)
        with pytest.raises(ValueError, match=message):
            GloVe().fit_cooccurrence(matrix)


class TestVectors:
    def test_kinds(self, model):
        word, context = model.word_vectors, model.context_vectors
        assert (word != context).any()
        wanted = {"word": word, "context": context, "sum": word + context, "concat": np.hstack([word, context])}
        for kind, vectors in wanted.items():
            np.testing.assert_array_equal(copy.copy(model).set_params(vectors=kind).wv.vectors, vectors)
        assert GloVe().vectors == "sum"

    def test_text_is_the_programs(self, model, tmp_path):
        """No header, and the mean of the 100 rarest words where asked for."""
        path = tmp_path / "vectors.txt"
        model.wv.save(path)
        lines = path.read_text().splitlines()
        assert len(lines) == 16 and lines[0].split()[0] == model.wv.index_to_key[0]
        np.testing.assert_array_equal([line.split()[1:] for line in lines], model.wv.vectors.astype(str))
        model.wv.save(path, unk=True)
        loaded = KeyedVectors.load(path)
        assert loaded.index_to_key == [*model.wv.index_to_key, "<unk>"]
        np.testing.assert_allclose(loaded["<unk>"], model.wv.vectors.mean(axis=0), atol=1e-6)
        model.wv.save(tmp_path / "vectors.vec")
        assert (tmp_path / "vectors.vec").read_text().startswith("16 20\n")

    def test_unknown_is_the_mean_of_the_last_hundred(self, tmp_path):
        matrix = csr_array(np.ones((150, 150)))
        wv = GloVe(vector_size=2, epochs=1).fit_cooccurrence(matrix).wv
        wv.save(tmp_path / "a.glove", unk=True)
        found = KeyedVectors.load(tmp_path / "a.glove")["<unk>"]
        np.testing.assert_allclose(found, wv.vectors[50:].mean(axis=0), atol=1e-6)

    def test_a_second_unknown_is_refused(self, tmp_path):
        wv = GloVe([["<unk>", "a"]] * 3, **small()).wv
        with pytest.raises(ValueError, match="there is one already"):
            wv.save(tmp_path / "vectors.txt", unk=True)
        wv.save(tmp_path / "vectors.txt")


class Stop:
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, model):
        if model.epochs_trained == self.epoch:
            raise KeyboardInterrupt


def test_going_on_equals_not_having_stopped(tmp_path, many_blocks):
    text, whole = mixed(), GloVe(mixed(), **small(epochs=6))
    path = tmp_path / "checkpoint.safetensors"
    model = GloVe(**small(epochs=6, checkpoint=path, checkpoint_epochs=2, callbacks=[Stop(5)], workers=2))
    with pytest.raises(KeyboardInterrupt):
        model.fit(text)
    assert model.epochs_trained == 5
    loaded = GloVe.load(path)
    assert loaded.epochs_trained == 4
    assert loaded.get_params() == {**model.get_params(), "callbacks": (), "checkpoint": str(path)}
    again = GloVe.load(path)
    loaded.train(text)
    model.set_params(callbacks=(), checkpoint=None)
    model.train(text)
    with read_corpus(text, min_count=1) as corpus:
        again.train(cooccurrence=count_cooccurrences(corpus, window=5))
    same([whole, loaded, model, again, GloVe.load(path)])
    with pytest.raises(ValueError, match="the model has had 6 epochs, and its epochs=6 counts these"):
        again.train(text)
    again.train(text, epochs=1)
    assert again.epochs_trained == 7 and again.losses[:6] == whole.losses


def test_save_and_load(tmp_path):
    model = GloVe(sentences(), **small(compat="glove", vectors="concat"))
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = GloVe.load(path)
    same([model, loaded])
    assert loaded.get_params() == model.get_params() and loaded.corpus_total_words == model.corpus_total_words
    vectors = KeyedVectors.load(path)
    np.testing.assert_array_equal(vectors["sky3"], model.wv["sky3"])
    assert vectors.get_vecattr("sky3", "count") == model.wv.get_vecattr("sky3", "count")
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        twin.train(sentences(), epochs=1)
        assert twin.epochs_trained == 4 and model.epochs_trained == 3


def test_load_refuses_what_is_not_a_model(tmp_path):
    model = GloVe(sentences(), **small())
    path = tmp_path / "model.safetensors"
    model.wv.save(path)
    with pytest.raises(ValueError, match="not a GloVe model"):
        GloVe.load(path)
    model.save(path)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(ValueError, match="model"):
        GloVe.load(path)
    path.write_bytes(content.replace(b"word_squares", b"ward_squares"))
    with pytest.raises(ValueError, match="a damaged GloVe model"):
        GloVe.load(path)
    for name in ("path", "checkpoint"):
        with pytest.raises(ValueError, match=rf"{name} must end in '\.safetensors', got 'model\.bin'"):
            model.save("model.bin") if name == "path" else GloVe(checkpoint="model.bin")


class Recorder:
    def __init__(self):
        self.events, self.progress = [], []

    def on_train_begin(self, model):
        self.events.append("train begin")

    def on_epoch_begin(self, model):
        self.events.append("epoch begin")

    def on_epoch_end(self, model):
        self.events.append(f"epoch end {len(model.losses)} {model.wv.vectors.shape}")

    def on_train_end(self, model):
        self.events.append("train end")

    def on_progress(self, model, progress):
        assert threading.current_thread() is threading.main_thread()
        self.progress.append(progress)


def test_callbacks(many_blocks):
    recorder = Recorder()
    model = GloVe(mixed(), **small(epochs=2, workers=2, callbacks=[recorder, object()]))
    shape = model.wv.vectors.shape
    assert recorder.events == [
        "train begin", "epoch begin", f"epoch end 1 {shape}", "epoch begin", f"epoch end 2 {shape}", "train end"
    ]  # fmt: skip
    stages = list(dict.fromkeys(progress.stage for progress in recorder.progress))
    assert [stage for stage in stages if stage != "compiling"] == ["scanning", "counting", "training"]
    counting = [progress for progress in recorder.progress if progress.stage == "counting"][-1]
    assert counting.words == counting.total_words == 8000 and counting.unit == "words"
    last = recorder.progress[-1]
    assert last.words == last.total_words > 0 and last.unit == "pairs" and (last.epoch, last.epochs) == (1, 2)
    assert last.loss == model.losses[-1] and last.alpha == model.eta and last.words_per_second > 0


class Poison:
    def __init__(self, value):
        self.value = value

    def on_epoch_end(self, model):
        model.word_vectors[3, 2] = self.value


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_told(many_blocks, workers, value):
    with pytest.raises(FloatingPointError, match=r"epoch 2 after [\d,]+ pairs, at eta=0\.05; try a lower eta"):
        GloVe(mixed(), **small(workers=workers, callbacks=[Poison(value)]))


def test_too_large_a_rate_stays_finite():
    """Gradients are clipped: the loss is absurd, and no vector is NaN."""
    model = GloVe(mixed(), **small(eta=1e6, epochs=10, x_max=1))
    assert np.isfinite(model.wv.vectors).all() and model.losses[-1] > 1e3


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("vector_size", 0, ValueError),
        ("vector_size", 10.5, TypeError),
        ("window", 256, ValueError),
        ("min_count", -1, ValueError),
        ("symmetric", "yes", TypeError),
        ("x_max", 0, ValueError),
        ("alpha", -0.1, ValueError),
        ("eta", 0, ValueError),
        ("eta", float("nan"), ValueError),
        ("epochs", 0, ValueError),
        ("max_final_vocab", 0, ValueError),
        ("vectors", "both", ValueError),
        ("compat", "gensim", ValueError),
        ("seed", -1, ValueError),
        ("workers", 0, ValueError),
        ("max_memory", "much", ValueError),
        ("checkpoint_epochs", 0, ValueError),
    ],
)
def test_arguments_out_of_bounds_are_named(name, value, error):
    with pytest.raises(error, match=f"^{name} must be .*got "):
        GloVe(**{name: value})


def test_the_classic_mistakes():
    with pytest.raises(TypeError, match=r"sentences must be .* a file's name goes into corpus_file="):
        GloVe("text.txt")
    with pytest.raises(TypeError, match="got neither"):
        GloVe().fit()
    with pytest.raises(RuntimeError, match="no vocabulary yet: call fit or fit_cooccurrence first"):
        GloVe().train([["a"]])
    with pytest.raises(RuntimeError, match="no vocabulary yet"):
        _ = GloVe().wv
    model = GloVe(sentences(20), **small())
    with pytest.raises(TypeError, match="one of sentences, corpus_file and cooccurrence must be given, got several"):
        model.train(sentences(), cooccurrence=csr_array(np.ones((16, 16))), epochs=1)
    model.set_params(vector_size=10)
    with pytest.raises(ValueError, match="changed to 10, and the model's vectors have 20 numbers"):
        model.train(sentences(), epochs=1)


def test_defaults_are_the_programs():
    model = GloVe()
    assert (model.window, model.symmetric, model.distance_weighting) == (15, True, True)
    assert (model.x_max, model.alpha, model.eta, model.epochs, model.vectors) == (100, 0.75, 0.05, 25, "sum")
    assert CLIP == 100 and model.compat is None


def test_the_start_is_the_programs():
    """Vectors and biases uniform in half a unit over the size and one, sums of squares of one."""
    state = GloVeState.start(Vocabulary.from_words([str(i) for i in range(3000)]), 9, seed=1, bias_squares=1.0)
    for side in ("word", "context"):
        numbers = np.hstack([state.vectors_of(side), state.biases_of(side)[:, None]])
        assert np.abs(numbers).max() <= 0.05 and numbers.std() == pytest.approx(0.1 / np.sqrt(12), rel=0.02)
        assert not state.squares_of(side).any() and not state.bias_squares_of(side).any()
    assert (state.vectors_of("word") != state.vectors_of("context")).mean() > 0.99


def test_tables_larger_than_the_memory_are_refused():
    matrix = csr_array(([1.0], ([0], [1])), shape=(300_000, 300_000))
    words = Vocabulary.from_bytes([b"%d" % i for i in range(300_000)])
    with pytest.raises(MemoryError, match=r"the tables of 300,000 words need .* a smaller vector_size needs less"):
        GloVe(vector_size=60_000).fit_cooccurrence(matrix, words)


def test_parameters():
    model = GloVe(window=3, epochs=1, eta=np.float32(0.1), vector_size=np.int64(4), min_count=1)
    clone = GloVe(**model.get_params())
    assert clone.get_params() == model.get_params() and clone.fit(sentences(10)) is clone
    with pytest.raises(ValueError, match=r"parameter must be one of .*'widow'"):
        model.set_params(widow=3)


def test_max_final_vocab_raises_min_count():
    text = mixed(50)
    model = GloVe(text, **small(max_final_vocab=7))
    words = GloVe(text, **small()).wv
    assert 0 < len(model.wv) <= 7 and model.wv.index_to_key == words.index_to_key[: len(model.wv)]
    rarest = words.get_vecattr(model.wv.index_to_key[-1], "count")
    same([model, GloVe(text, **small(min_count=rarest))])


def test_words_that_never_meet():
    with pytest.warns(UserWarning, match="no two words met"):
        model = GloVe([["a"], ["a"], []], **small())
    assert np.isnan(model.losses[0]) and np.isfinite(model.wv.vectors).all()


def test_a_long_line_is_not_cut():
    """The GloVe program cuts no line; Word2Vec's limit is 1000 words."""
    words = [f"w{i % 7}" for i in range(3001)]
    model = GloVe([words], **small(window=1, distance_weighting=False))
    assert model.corpus_count == 1
    with read_corpus([words], min_count=1, max_sentence_length=10**6) as corpus:
        assert count_cooccurrences(corpus, window=1).counts.sum() == 6000
    assert model.losses == GloVe(**small()).fit_cooccurrence(count_cooccurrences(corpus_of(words), window=1)).losses


def corpus_of(words):
    return read_corpus([words], min_count=1, max_sentence_length=10**6)


def test_it_works_in_a_forked_child_and_in_threads(many_blocks):
    code = """
        import os, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from fastemb import GloVe
        text = [["a", "b", "c", "d"]] * 50
        make = lambda: GloVe(text, vector_size=8, min_count=1, epochs=2, workers=2).losses
        wanted, found = make(), []
        team = [threading.Thread(target=lambda: found.append(make())) for _ in range(3)]
        [thread.start() for thread in team]; [thread.join() for thread in team]
        if hasattr(os, "fork"):
            child = os.fork()
            if child == 0:
                os._exit(make() != wanted)
            found.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print(found == [wanted] * 3 + [0] * hasattr(os, "fork"))
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=600)
    assert ran.stdout == "True\n", ran.stderr
