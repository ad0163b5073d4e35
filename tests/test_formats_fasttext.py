"""fastText's models: Facebook's program, gensim and fastemb read each other's files."""

import struct
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fastemb.corpus.subwords import Subwords
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.product import ProductRows, quantize_product
from fastemb.formats import Table, detect, read, write
from fastemb.formats.compact import CompactVectors
from fastemb.formats.fasttext import Arguments, Dictionary, FastTextModel, read_model, write_model
from fastemb.formats.subwords import Origin, SubwordTable

REAL = {
    "gensim/crime-and-punishment.bin": 12,
    "gensim/lee_fasttext_new.bin": 11,
    "gensim/lee_fasttext.bin": 0,
    "gensim/non_ascii_fasttext.bin": 0,
    "finalfusion/fasttext.bin": 12,
}
UNSEEN = ["unseen", "naïveté", "東京", "🙂", "x"]
TEXT = ["the cat sat on the mat", "naïve 東京 🙂 cats and dogs", "</s> the dog"] * 20
LABELLED = ["__label__a the cat sat", "__label__b a dog ran", "__label__a __label__b cats 東京"] * 20


def words_of(words, counts=None):
    return Vocabulary.from_words(words, counts)


def table_of(words=("the", "cat", "naïve", "東京"), dim=5, bucket=40, min_n=2, max_n=4):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((len(words) + bucket, dim)).astype(np.float32)
    return SubwordTable(words_of(words, range(len(words), 0, -1)), rows, Subwords(min_n, max_n, bucket))


@pytest.fixture(scope="module")
def fasttext():
    return pytest.importorskip("fasttext", reason="fasttext is not installed")


@pytest.fixture(scope="module")
def trained(fasttext, tmp_path_factory):
    """Return the folder of fastText's own models."""
    folder = tmp_path_factory.mktemp("fasttext")
    (folder / "text").write_text("\n".join(TEXT) + "\n", encoding="utf-8")
    (folder / "labelled").write_text("\n".join(LABELLED) + "\n", encoding="utf-8")
    # With fewer threads fastText leaves rows as they were in memory, which may be NaN.
    how = {"dim": 4, "epoch": 1, "minCount": 1, "thread": 12, "verbose": 0, "bucket": 300}
    for name, more in {
        "skipgram": {"minn": 2, "maxn": 4},
        "cbow": {"model": "cbow", "loss": "hs", "minn": 3, "maxn": 6},
        "whole": {"maxn": 0},
    }.items():
        fasttext.train_unsupervised(str(folder / "text"), **how, **more).save_model(str(folder / f"{name}.bin"))
    for name, more in {
        "softmax": {"minn": 2, "maxn": 3, "wordNgrams": 2},
        "ova": {"loss": "ova", "minn": 0, "maxn": 0},
    }.items():
        model = fasttext.train_supervised(str(folder / "labelled"), **how, **more)
        model.save_model(str(folder / f"{name}.bin"))
        if name == "softmax":
            for kind, wanted in {
                "plain": {},
                "pruned": {"qnorm": True, "cutoff": 260},
                "output": {"qnorm": True, "dsub": 3},
            }.items():
                model = fasttext.load_model(str(folder / "softmax.bin"))
                model.quantize(**wanted)
                model.save_model(str(folder / f"{kind}.ftz"))
    return folder


def vectors_by(model, words):
    return np.array([model.get_word_vector(word) for word in words])


def assert_same(table, model):
    """Both have the same words, and equal vectors, of unseen words too."""
    assert table.words == model.get_words()
    np.testing.assert_array_equal(table.vectors, vectors_by(model, table.words))
    unseen = [word for word in UNSEEN if word not in table.vocabulary]
    np.testing.assert_array_equal(table.vectors_of(words_of(unseen)), vectors_by(model, unseen))


@pytest.mark.parametrize(
    "name", ["skipgram.bin", "cbow.bin", "whole.bin", "softmax.bin", "ova.bin", "plain.ftz", "pruned.ftz", "output.ftz"]
)
def test_fasttext_files(fasttext, trained, name, tmp_path):
    """Its files open with its vectors; what we make of them it loads again, with the same."""
    path = trained / name
    theirs = fasttext.load_model(str(path))
    assert detect(path) == "fasttext"
    assert_same(read(path), theirs)
    model = read_model(path)
    assert model.dictionary.labels.words == (theirs.get_labels() if model.arguments.model == "supervised" else [])
    assert isinstance(model.input, ProductRows) == (path.suffix == ".ftz")
    if name == "pruned.ftz":
        assert model.dictionary.pruned is not None
    write_model(tmp_path / name, model)
    again = fasttext.load_model(str(tmp_path / name))
    assert_same(read(path), again)
    told = theirs.f.getArgs()
    assert (told.dim, told.ws, told.epoch, told.minn, told.maxn, told.wordNgrams, told.bucket) == (
        model.arguments.dim, model.arguments.window, model.arguments.epochs, model.arguments.min_n,
        model.arguments.max_n, model.arguments.word_ngrams, model.arguments.bucket,
    )  # fmt: skip
    if name in ("skipgram.bin", "cbow.bin", "whole.bin", "softmax.bin"):
        np.testing.assert_array_equal(model.output, theirs.get_output_matrix())
        assert path.read_bytes() == (tmp_path / name).read_bytes()


def test_fasttext_classifies_the_same_with_our_file(fasttext, trained, tmp_path):
    for name in ("softmax.bin", "pruned.ftz"):
        write_model(tmp_path / name, read_model(trained / name))
        theirs, again = (fasttext.load_model(str(folder / name)) for folder in (trained, tmp_path))
        for text in ("the cat", "unseen 東京 dogs"):
            assert theirs.f.predict(text, 2, 0.0, "strict") == again.f.predict(text, 2, 0.0, "strict")


@pytest.mark.parametrize("name", [name for name in REAL if name != "gensim/non_ascii_fasttext.bin"])
def test_real_files(data: Path, fasttext, name: str, tmp_path: Path) -> None:
    path = data / "formats" / name
    assert detect(path) == "fasttext"
    assert read_model(path).version == REAL[name]
    table = read(path)
    write(tmp_path / "a.bin", table)
    assert_same(table, fasttext.load_model(str(tmp_path / "a.bin")))
    if REAL[name] == 12:
        assert (tmp_path / "a.bin").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", REAL)
def test_gensim_reads_the_same(data: Path, name: str, tmp_path: Path) -> None:
    gensim = pytest.importorskip("gensim.models.fasttext", reason="gensim is not installed")
    table = read(data / "formats" / name)
    write(tmp_path / "a.bin", table)
    for path in (data / "formats" / name, tmp_path / "a.bin"):
        theirs = gensim.load_facebook_vectors(str(path))
        assert table.words == theirs.index_to_key
        # gensim gives n-grams to the end of a sentence, which has none.
        rows = [row for row, word in enumerate(table.words) if word != "</s>"]
        np.testing.assert_allclose(table.vectors[rows], theirs.vectors[rows], rtol=0, atol=2e-6)
        for word in UNSEEN:
            np.testing.assert_allclose(
                table.vectors_of(words_of([word]))[0], theirs.get_vector(word), rtol=0, atol=2e-6
            )


def test_gensim_writes_what_we_read(tmp_path: Path) -> None:
    gensim = pytest.importorskip("gensim.models.fasttext", reason="gensim is not installed")
    for how in ({"sg": 1, "negative": 3}, {"sg": 0, "hs": 1, "negative": 0}):
        model = gensim.FastText(
            [line.split() for line in TEXT], vector_size=4, min_count=1, bucket=50, epochs=1, workers=1, **how
        )
        gensim.save_facebook_model(model, str(tmp_path / "a.bin"))
        table = read(tmp_path / "a.bin")
        assert table.words == model.wv.index_to_key
        np.testing.assert_allclose(table.vectors_of(words_of(["unseen"]))[0], model.wv["unseen"], atol=1e-6)
        told = read_model(tmp_path / "a.bin").arguments
        assert (told.model, told.loss) == (("skipgram", "ns") if how["sg"] else ("cbow", "hs"))


@pytest.mark.parametrize("aligned", range(4))
def test_own_files(fasttext, tmp_path: Path, aligned: int) -> None:
    """Wherever the matrix begins in the file."""
    table = table_of(["the" + "e" * aligned, "cat", "naïve"])
    write(tmp_path / "a.bin", table)
    assert detect(tmp_path / "a.bin") == "fasttext"
    again = read(tmp_path / "a.bin")
    np.testing.assert_array_equal(again.rows, table.rows)
    np.testing.assert_array_equal(again.vectors, table.vectors)
    assert again.counts.tolist() == table.counts.tolist()
    assert_same(again, fasttext.load_model(str(tmp_path / "a.bin")))


def test_unsupervised_codes_load_in_fasttext(fasttext, tmp_path: Path) -> None:
    """fastText quantizes classifiers only, and loads any model that is."""
    table = table_of(bucket=300, dim=6)
    for qnorm in (False, True):
        small = SubwordTable(table.vocabulary, quantize_product(table.rows, 3, qnorm=qnorm), table.subwords)
        write(tmp_path / "a.ftz", small)
        assert_same(read(tmp_path / "a.ftz"), fasttext.load_model(str(tmp_path / "a.ftz")))


def test_plain_vectors_as_a_model(fasttext, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    write(tmp_path / "a.bin", Table(words_of(["a", "b"]), vectors), format="fasttext")
    again = read(tmp_path / "a.bin")
    np.testing.assert_array_equal(again.vectors, vectors)
    np.testing.assert_array_equal(again.vectors_of(words_of(["c"])), np.zeros((1, 3)))
    assert_same(again, fasttext.load_model(str(tmp_path / "a.bin")))


def test_bin_without_ngrams_is_word2vecs(tmp_path: Path) -> None:
    write(tmp_path / "a.bin", Table(words_of(["a"]), np.ones((1, 3), np.float32)))
    assert detect(tmp_path / "a.bin") == "word2vec-binary"


def test_limit(tmp_path: Path) -> None:
    table = table_of()
    write(tmp_path / "a.bin", table)
    first = read(tmp_path / "a.bin", limit=2)
    assert first.words == ["the", "cat"]
    np.testing.assert_array_equal(first.vectors, table.vectors[:2])
    np.testing.assert_array_equal(first.vectors_of(words_of(["xyz"])), table.vectors_of(words_of(["xyz"])))
    with pytest.raises(ValueError, match="only the first words were read"):
        write(tmp_path / "b.bin", first)


def test_words_that_are_not_utf8(tmp_path: Path) -> None:
    words = Vocabulary.from_bytes([b"caf\xe9", b"the"])
    rows = np.random.default_rng(0).standard_normal((22, 3)).astype(np.float32)
    table = SubwordTable(words, rows, Subwords(2, 3, 20))
    write(tmp_path / "a.bin", table)
    with pytest.raises(ValueError, match="word 0 is not UTF-8"):
        read(tmp_path / "a.bin")
    for errors, word in {"surrogateescape": "caf\udce9", "ignore": "caf", "replace": "caf\ufffd"}.items():
        again = read(tmp_path / "a.bin", errors=errors)
        assert again.words == [word, "the"]
        np.testing.assert_array_equal(again.vectors, table.vectors)  # hashed as they are in the file


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_safetensors(tmp_path: Path, kind: str) -> None:
    table = table_of()
    rows = table.rows if kind == "float32" else CompactVectors.of(table.rows, kind)
    table = SubwordTable(table.vocabulary, rows, table.subwords, vectors=table.vectors)
    write(tmp_path / "a.safetensors", table)
    again = read(tmp_path / "a.safetensors")
    assert getattr(again.rows, "kind", "float32") == kind
    np.testing.assert_array_equal(again.vectors, table.vectors)
    np.testing.assert_array_equal(again.vectors_of(words_of(UNSEEN)), table.vectors_of(words_of(UNSEEN)))
    assert read(tmp_path / "a.safetensors", limit=1).words == ["the"]


def test_safetensors_of_codes_and_of_a_model(tmp_path: Path, trained) -> None:
    for name in ("skipgram.bin", "pruned.ftz", "plain.ftz"):
        table = read(trained / name)
        write(tmp_path / "a.safetensors", table)
        again = read(tmp_path / "a.safetensors")
        np.testing.assert_array_equal(again.vectors, table.vectors)
        np.testing.assert_array_equal(again.vectors_of(words_of(UNSEEN)), table.vectors_of(words_of(UNSEEN)))
        assert again.origin.arguments == table.origin.arguments
        assert again.origin.num_tokens == table.origin.num_tokens


def test_text_of_the_vectors(tmp_path: Path) -> None:
    table = table_of()
    for name in ("a.vec", "a.npy", "a.glove"):
        write(tmp_path / name, table)
        again = read(tmp_path / name)
        assert again.words == table.words
        np.testing.assert_array_equal(again.vectors, table.vectors)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    table = table_of()
    floret = SubwordTable(table.vocabulary, table.rows[4:], Subwords(2, 4, 40, hash_count=2))
    with pytest.raises(ValueError, match="cannot hold floret's table"):
        write(tmp_path / "a.bin", floret)
    pruned = SubwordTable(table.vocabulary, table.rows[:6], Subwords(2, 4, 40, kept=np.array([3, 7], np.int32)))
    with pytest.raises(ValueError, match="pruned and not quantized"):
        write(tmp_path / "a.bin", pruned)
    with pytest.raises(ValueError, match="rows were left out"):
        write(
            tmp_path / "a.bin",
            SubwordTable(table.vocabulary, table.rows[4:], table.subwords, vectors=table.vectors, num_word_rows=0),
        )
    with pytest.raises(ValueError, match=r"word 0, .* which fastText's format cannot store"):
        write(tmp_path / "a.bin", SubwordTable(words_of(["a\0b"]), table.rows[:41], table.subwords))
    with pytest.raises(ValueError, match="cannot be packed"):
        write(tmp_path / "a.ftz.gz", table)
    model = FastTextModel(Arguments(5, bucket=40), Dictionary(table.vocabulary, words_of([]), 9), table.rows[:9])
    with pytest.raises(ValueError, match="its input must have 44 rows of 5 numbers"):
        write_model(tmp_path / "a.bin", model)
    assert not list(tmp_path.iterdir())


def test_tables_must_fit() -> None:
    table = table_of()
    with pytest.raises(ValueError, match="rows must be 4 for words and 40 for n-grams, got 43"):
        SubwordTable(table.vocabulary, table.rows[:43], table.subwords)
    with pytest.raises(ValueError, match="vectors must be given"):
        SubwordTable(table.vocabulary, table.rows[4:], table.subwords, num_word_rows=0)
    with pytest.raises(ValueError, match="num_word_rows must be 0 or at least 4"):
        SubwordTable(table.vocabulary, table.rows, table.subwords, num_word_rows=2)
    with pytest.raises(ValueError, match="vectors must have shape"):
        SubwordTable(table.vocabulary, table.rows, table.subwords, vectors=np.ones((4, 4), np.float32))


def damaged(content: bytes, at: int, form: str, value: float) -> bytes:
    return content[:at] + struct.pack("<" + form, value) + content[at + struct.calcsize(form) :]


@pytest.mark.parametrize(
    ("at", "form", "value", "message"),
    [
        (4, "i", 13, "version must be 11 or 12, got 13"),
        (8, "i", 0, "size must be in"),
        (8, "i", 2**31 - 1, "size must be in"),
        (32, "i", 7, "its model must be in"),
        (40, "i", -1, "must not be negative"),
        (44, "i", -1, "must not be negative"),
        (40, "i", 39, "input must have 43 rows"),
        (64, "i", 2**31 - 1, "it claims 2147483647 entries"),
        (68, "i", -1, "it claims"),
        (76 + 8, "q", -2, "-2 pruned buckets"),
        (76 + 8, "q", 2**40, "pruned buckets would have"),
        (64, "iii", (2**30, 2**30, 0), "there is no room for 1073741824 words"),
    ],
)
def test_lying_headers(tmp_path: Path, at: int, form: str, value, message: str) -> None:
    write(tmp_path / "a.bin", table_of())
    content = (tmp_path / "a.bin").read_bytes()
    values = value if isinstance(value, tuple) else (value,)
    changed = content[:at] + struct.pack("<" + form, *values) + content[at + struct.calcsize("<" + form) :]
    (tmp_path / "a.bin").write_bytes(changed)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "a.bin")


def test_lying_matrix(tmp_path: Path) -> None:
    write(tmp_path / "a.bin", table_of())
    content = (tmp_path / "a.bin").read_bytes()
    place = len(content) - 17 - 4 * 5 * 4 - 4 * 5 * 44 - 16
    assert struct.unpack_from("<qq", content, place) == (44, 5)
    for rows, dim in ((2**62, 5), (44, 2**62), (-1, 5), (43, 5), (44, 4), (2**31, 2**31)):
        (tmp_path / "a.bin").write_bytes(content[:place] + struct.pack("<qq", rows, dim) + content[place + 16 :])
        with pytest.raises(ValueError, match="not a valid fastText model"):
            read(tmp_path / "a.bin")
    (tmp_path / "a.bin").write_bytes(content + b"x")
    with pytest.raises(ValueError, match="1 bytes follow its end"):
        read(tmp_path / "a.bin")


def test_old_classifiers_have_no_character_ngrams(tmp_path: Path, trained) -> None:
    content = (trained / "softmax.bin").read_bytes()
    (tmp_path / "a.bin").write_bytes(damaged(content, 4, "i", 11))
    assert read_model(trained / "softmax.bin").arguments.max_n == 3
    assert read_model(tmp_path / "a.bin").arguments.max_n == 0


def test_labels_among_words_are_refused(tmp_path: Path, trained) -> None:
    model = read_model(trained / "softmax.bin")
    write_model(tmp_path / "a.bin", model)
    content = bytearray((tmp_path / "a.bin").read_bytes())
    first = content.index(b"\0", 92)
    content[first + 9] = 1
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(ValueError, match="words must come before its labels"):
        read_model(tmp_path / "a.bin")


def test_origin_is_kept(tmp_path: Path) -> None:
    table = table_of()
    arguments = Arguments(5, window=7, epochs=3, model="cbow", loss="hs", bucket=40, min_n=2, max_n=4)
    table.origin = Origin(arguments, 123, np.ones((4, 5), np.float32))
    write(tmp_path / "a.bin", table)
    model = read_model(tmp_path / "a.bin")
    assert model.arguments == replace(arguments, sample=model.arguments.sample)
    assert model.dictionary.num_tokens == 123
    assert model.output.tolist() == np.ones((4, 5)).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(tmp_path / "b.bin", read(tmp_path / "a.bin"))
    assert (tmp_path / "b.bin").read_bytes() == (tmp_path / "a.bin").read_bytes()
