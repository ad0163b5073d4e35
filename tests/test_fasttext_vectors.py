"""FastTextKeyedVectors: words that were never seen, files, fewer and smaller rows."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fastemb import FastTextKeyedVectors, KeyedVectors
from fastemb.cli.app import app
from fastemb.corpus.subwords import Subwords
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.means import mean_rows
from fastemb.formats import read
from fastemb.formats.subwords import SubwordTable

WORDS = ["night", "day", "cat", "cats", "naïve", "東京", "</s>"]
UNSEEN = ["nightly", "dogs", "東", "x"]


def make(words=WORDS, dim=6, bucket=400, hash_count=0):
    rows = np.random.default_rng(0).standard_normal((len(words) + bucket, dim)).astype(np.float32)
    subwords = Subwords(2, 4, bucket, hash_count)
    vocabulary = Vocabulary.from_words(words, range(len(words), 0, -1))
    return FastTextKeyedVectors(SubwordTable(vocabulary, rows[: subwords.table_rows(len(words))], subwords))


def gensims(kv):
    """Return gensim's class with the same rows."""
    gensim = pytest.importorskip("gensim.models.fasttext", reason="gensim is not installed")
    theirs = gensim.FastTextKeyedVectors(kv.vector_size, min_n=kv.min_n, max_n=kv.max_n, bucket=kv.bucket)
    theirs.add_vectors(kv.index_to_key, kv.vectors)
    theirs.vectors_vocab, theirs.vectors_ngrams = kv.vectors_vocab, kv.vectors_ngrams
    theirs.recalc_char_ngram_buckets()
    return theirs


def test_gensims_methods():
    kv = make(WORDS[:-1])
    theirs = gensims(kv)
    theirs.adjust_vectors()
    np.testing.assert_allclose(kv.vectors, theirs.vectors, atol=1e-6)
    for word in (*WORDS[:-1], *UNSEEN):
        assert (word in kv) == (word in theirs)
        assert kv.has_index_for(word) == theirs.has_index_for(word)
        for norm in (False, True):
            np.testing.assert_allclose(kv.get_vector(word, norm=norm), theirs.get_vector(word, norm=norm), atol=1e-6)
    np.testing.assert_allclose(kv[["night", "nightly"]], theirs[["night", "nightly"]], atol=1e-6)
    for query in ("nightly", ["nightly", "cat"], "cat"):
        ours, wanted = kv.most_similar(query, topn=3), theirs.most_similar(query, topn=3)
        assert [word for word, _ in ours] == [word for word, _ in wanted]
        np.testing.assert_allclose([c for _, c in ours], [c for _, c in wanted], atol=1e-5)
    assert kv.similarity("nightly", "dogs") == pytest.approx(theirs.similarity("nightly", "dogs"), abs=1e-6)
    assert kv.n_similarity(["nightly"], ["cat", "x"]) == pytest.approx(theirs.n_similarity(["nightly"], ["cat", "x"]))
    assert kv.doesnt_match(["cat", "cats", "nightly"]) == theirs.doesnt_match(["cat", "cats", "nightly"])


def test_a_word_reads_its_own_rows_only():
    kv = make()
    alone = kv["night"].copy()
    assert kv._subword_table._vectors is None
    np.testing.assert_array_equal(alone, kv.vectors[0])
    assert kv._subword_table._vectors is not None
    np.testing.assert_array_equal(kv["night"], alone)
    with pytest.raises(ValueError, match="read-only"):
        kv["night"][0] = 1
    assert len(kv) == len(WORDS)


def test_vectors_are_made_block_by_block(tmp_path):
    words = [f"{'ab' * (i % 7)}{i}" for i in range(20_000)]  # more than a block of words, and of a file's entries
    kv = make(words, dim=2)
    kv.save(tmp_path / "many.bin")
    found = FastTextKeyedVectors.load(tmp_path / "many.bin")
    assert found.index_to_key == words
    np.testing.assert_array_equal(found.counts, kv.counts)
    np.testing.assert_array_equal(found.vectors, kv.vectors)
    table = kv._subword_table
    np.testing.assert_array_equal(kv.vectors, mean_rows(table.rows, *table.parts()))


def test_words_without_ngrams():
    kv = make()
    assert "</s>" in kv
    np.testing.assert_array_equal(kv["</s>"], kv.vectors_vocab[6])
    np.testing.assert_array_equal(make(WORDS[:-1])["</s>"], np.zeros(6))
    rows = np.ones((1, 2), np.float32)
    bare = FastTextKeyedVectors(SubwordTable(Vocabulary.from_words(["a"]), rows, Subwords(3, 6, 0)))
    assert "b" not in bare
    with pytest.raises(KeyError, match="'b' is not in the vocabulary"):
        bare["b"]
    with pytest.raises(KeyError, match="77"):
        make().get_vector(77)


@pytest.mark.parametrize("hash_count", [0, 2])
def test_files(tmp_path: Path, hash_count: int) -> None:
    kv = make(hash_count=hash_count)
    kv.metadata["origin"] = "here"
    kv.set_vecattr("cat", "legs", 4)
    names = ["a.safetensors", "a.bin"] if not hash_count else ["a.safetensors"]
    for name in names:
        kv.save(tmp_path / name)
        again = KeyedVectors.load(tmp_path / name)
        assert isinstance(again, FastTextKeyedVectors)
        assert again.index_to_key == kv.index_to_key
        assert again.counts.tolist() == kv.counts.tolist()
        np.testing.assert_array_equal(again.vectors, kv.vectors)
        np.testing.assert_array_equal(again[UNSEEN], kv[UNSEEN])
        plain = KeyedVectors.load(tmp_path / name, subwords=False)
        assert type(plain) is KeyedVectors
        assert "nightly" not in plain
        np.testing.assert_array_equal(plain.vectors, kv.vectors)
    again = FastTextKeyedVectors.load(tmp_path / "a.safetensors")
    assert again.metadata["origin"] == "here"
    assert again.get_vecattr("cat", "legs") == 4
    kv.save(tmp_path / "a.vec")
    assert type(KeyedVectors.load(tmp_path / "a.vec")) is KeyedVectors
    with pytest.raises(ValueError, match="the file holds no n-grams"):
        FastTextKeyedVectors.load(tmp_path / "a.vec")


def test_floret_text(tmp_path: Path) -> None:
    kv = make(hash_count=2)
    kv.save(tmp_path / "a.floret")
    lines = (tmp_path / "a.floret").read_text().splitlines()
    assert lines[0] == "400 6 2 4 2 2166136261 < >"
    assert len(lines) == 401
    again = KeyedVectors.load(tmp_path / "a.floret")
    np.testing.assert_array_equal(again[WORDS], kv[WORDS])
    np.testing.assert_array_equal(again[UNSEEN], kv[UNSEEN])
    assert len(again) == 0
    with pytest.raises(ValueError, match="mode='floret' only"):
        make().save(tmp_path / "b.floret")
    with pytest.raises(ValueError, match="floret's table"):
        kv.save(tmp_path / "b.bin")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 1 3 4 1 1 < >\n0 1\n1 1\n", "line 1: words must be framed by < and >, hashed from 2166136261"),
        ("2 1 3 4 1 2166136261 [ ]\n0 1\n1 1\n", "line 1: words must be framed"),
        ("2 1 3 4 5 2166136261 < >\n0 1\n1 1\n", "line 1: must be floret's settings"),
        ("3 1 3 4 1 2166136261 < >\n0 1\n1 1\n", "line 1 claims 3 rows"),
        ("2 1 3 4 1 2166136261 < >\n0 1\n1 1\n2 1\n", "line 1 claims 2 rows"),
        ("2 1 3 4 1 2166136261 < >\n0 1\n2 1\n", "line 3: must begin with the row's number 1"),
        ("2 1 3 4 1 2166136261 < >\n0 1\n1 x\n", "line 3"),
        ("999999999 300 3 4 1 2166136261 < >\n0 1\n", "the file is too small"),
    ],
)
def test_bad_floret_text(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.floret").write_text(text)
    with pytest.raises(ValueError, match=message):
        KeyedVectors.load(tmp_path / "a.floret")


def test_pruning_what_no_word_uses(tmp_path: Path) -> None:
    kv = make()
    small = kv.prune()
    used = np.unique(kv._subword_table.parts()[0])
    used = used[used >= len(WORDS)] - len(WORDS)
    assert len(small.vectors_ngrams) == len(used) < kv.bucket
    np.testing.assert_array_equal(small.vectors, kv.vectors)
    # The mean of the n-grams whose buckets are left.
    for word in UNSEEN:
        rows = kv._subword_table.subwords.of_words(Vocabulary.from_words([word]), 0)[0]
        left = rows[np.isin(rows, used)]
        wanted = kv.vectors_ngrams[left].mean(axis=0) if len(left) else np.zeros(6)
        np.testing.assert_allclose(small[word], wanted, atol=1e-6)
    small.save(tmp_path / "a.safetensors")
    again = KeyedVectors.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again[UNSEEN], small[UNSEEN])
    np.testing.assert_array_equal(again.vectors, small.vectors)
    with pytest.raises(ValueError, match="were pruned before"):
        small.prune()


def test_pruning_by_norm() -> None:
    kv = make()
    kv.vectors_ngrams[7] = 100
    used = set(kv._subword_table.parts()[0].tolist())
    assert 7 + len(WORDS) not in used  # however long, no word uses it
    small = kv.prune(keep=5)
    assert len(small.vectors_ngrams) == 5
    norms = np.linalg.norm(kv.vectors_ngrams, axis=1)
    best = sorted((row - len(WORDS) for row in used if row >= len(WORDS)), key=lambda row: -norms[row])[:5]
    assert small._subword_table.subwords.kept.tolist() == sorted(best)
    np.testing.assert_array_equal(small.vectors, kv.vectors)
    assert len(kv.prune(keep=0).vectors_ngrams) == 0
    assert "nightly" not in kv.prune(keep=0)


SMALLER = [({"bits": 8}, 0.01), ({"bits": 4}, 0.15), ({"dtype": "float16"}, 1e-3), ({"dtype": "bfloat16"}, 1e-2)]


@pytest.mark.parametrize(("how", "most"), SMALLER)
def test_smaller_numbers(tmp_path: Path, how: dict, most: float) -> None:
    kv = make(dim=32)
    small = kv.quantize(**how)
    assert 0 < float(small.metadata["subword_error"]) < most
    error = np.linalg.norm(small[UNSEEN] - kv[UNSEEN]) / np.linalg.norm(kv[UNSEEN])
    assert 0 < error < most
    assert small._subword_table.rows.nbytes < 0.6 * kv.vectors_ngrams.nbytes
    small.save(tmp_path / "a.safetensors")
    again = KeyedVectors.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again[UNSEEN], small[UNSEEN])
    np.testing.assert_array_equal(again[WORDS], small[WORDS])
    assert [word for word, _ in again.most_similar("nightly")] == [word for word, _ in small.most_similar("nightly")]
    whole = small.quantize(dtype="float32")
    np.testing.assert_allclose(whole[UNSEEN], small[UNSEEN], atol=1e-6)


def test_product_codes(tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext", reason="fasttext is not installed")
    kv = make()
    for qnorm in (False, True):
        small = kv.quantize_product(2, qnorm=qnorm)
        np.testing.assert_array_equal(small.vectors, kv.vectors)
        error = np.linalg.norm(small[UNSEEN] - kv[UNSEEN]) / np.linalg.norm(kv[UNSEEN])
        assert 0 < error < 0.2
        small.save(tmp_path / "a.safetensors")
        again = KeyedVectors.load(tmp_path / "a.safetensors")
        np.testing.assert_array_equal(again[UNSEEN], small[UNSEEN])
        small.prune(word_rows=True).save(tmp_path / "a.ftz")
        theirs = fasttext.load_model(str(tmp_path / "a.ftz"))
        ours = KeyedVectors.load(tmp_path / "a.ftz")
        for word in (*WORDS, *UNSEEN):
            np.testing.assert_array_equal(ours[word], theirs.get_word_vector(word))


def test_changes() -> None:
    kv = make()
    table = kv._subword_table
    table.rows[0] += 1
    before = kv.vectors.copy()
    table.rows[0] += 1
    kv.adjust_vectors()
    assert not np.array_equal(kv.vectors[0], before[0])
    twin = copy.deepcopy(kv)
    twin.add_vectors(["new"], [np.ones(6)])
    assert len(twin) == len(kv) + 1
    np.testing.assert_array_equal(twin["new"], np.ones(6))
    np.testing.assert_array_equal(twin["nightly"], kv["nightly"])
    np.testing.assert_array_equal(twin["night"], kv["night"])


def test_changed_words_are_saved(tmp_path: Path) -> None:
    kv = make()
    kv.add_vectors(["new"], [np.ones(6)])
    kv.save(tmp_path / "a.safetensors")
    again = KeyedVectors.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again[["new", "nightly", "night"]], kv[["new", "nightly", "night"]])
    with pytest.raises(ValueError, match="rows were left out"):
        kv.save(tmp_path / "a.bin")


def test_command_line(tmp_path: Path) -> None:
    make().save(tmp_path / "a.bin")

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments, "--quiet"])
        assert result.exit_code == 0, result.output
        return result.output

    found = json.loads(run("neighbors", str(tmp_path / "a.bin"), "nightly", "--json", "--topn", "2"))
    assert len(found[0]["neighbors"]) == 2
    told = json.loads(run("info", str(tmp_path / "a.bin"), "--json"))
    assert (told["format"], told["words"], told["bucket"], told["max_n"]) == ("fasttext", len(WORDS), 400, 4)
    run("convert", str(tmp_path / "a.bin"), str(tmp_path / "a.vec"))
    run("convert", str(tmp_path / "a.bin"), str(tmp_path / "a.safetensors"))
    np.testing.assert_array_equal(read(tmp_path / "a.vec").vectors, read(tmp_path / "a.bin").vectors)
    run("convert", str(tmp_path / "a.safetensors"), str(tmp_path / "b.bin"))
    assert (tmp_path / "b.bin").read_bytes() == (tmp_path / "a.bin").read_bytes()
    make(hash_count=1).save(tmp_path / "a.floret")
    run("convert", str(tmp_path / "a.floret"), str(tmp_path / "b.floret"))
    assert (tmp_path / "b.floret").read_bytes() == (tmp_path / "a.floret").read_bytes()
