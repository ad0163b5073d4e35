"""Real files of real programs, read as gensim reads them."""

from pathlib import Path

import numpy as np
import pytest

from fastemb.formats import detect, read, write

TEXT = [
    "gensim/word2vec_pre_kv_c",
    "gensim/toy-model.vec",
    "gensim/crime-and-punishment.vec",
    "gensim/lee_fasttext.vec",
    "finalfusion/similarity.txt",
]
BINARY = ["gensim/euclidean_vectors.bin", "finalfusion/similarity.bin"]
GLOVE = ["gensim/test_glove.txt", "finalfusion/similarity.nodims"]
KINDS = {"word2vec": TEXT, "word2vec-binary": BINARY, "glove": GLOVE}
ALL = [(kind, name) for kind, names in KINDS.items() for name in names]

# gensim leaves files without a header open.
gensim_leaves_files_open = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@gensim_leaves_files_open
@pytest.mark.parametrize(("kind", "name"), ALL)
def test_gensim_reads_the_same(data: Path, kind: str, name: str) -> None:
    gensim = pytest.importorskip("gensim.models", reason="needs gensim")
    path = data / "formats" / name
    options = {"binary": kind == "word2vec-binary", "no_header": kind == "glove"}
    theirs = gensim.KeyedVectors.load_word2vec_format(str(path), **options)
    assert detect(path) == kind
    table = read(path)
    assert table.words == theirs.index_to_key
    np.testing.assert_array_equal(table.vectors, theirs.vectors)


@pytest.mark.parametrize(("kind", "name"), ALL)
@pytest.mark.parametrize("suffix", [".safetensors", ".vec", ".bin", ".glove", ".npy", ".bin.gz", ".fifu"])
def test_through_every_format(data: Path, tmp_path: Path, kind: str, name: str, suffix: str) -> None:
    table = read(data / "formats" / name)
    write(tmp_path / f"a{suffix}", table)
    again = read(tmp_path / f"a{suffix}")
    assert again.words == table.words
    np.testing.assert_array_equal(again.vectors, table.vectors)


@gensim_leaves_files_open
@pytest.mark.parametrize(("kind", "name"), ALL)
def test_gensim_reads_ours(data: Path, tmp_path: Path, kind: str, name: str) -> None:
    gensim = pytest.importorskip("gensim.models", reason="needs gensim")
    table = read(data / "formats" / name)
    for suffix, options in ((".vec", {}), (".bin", {"binary": True}), (".glove", {"no_header": True})):
        path = tmp_path / f"a{suffix}"
        write(path, table)
        theirs = gensim.KeyedVectors.load_word2vec_format(str(path), **options)
        assert theirs.index_to_key == table.words
        np.testing.assert_array_equal(theirs.vectors, table.vectors)


def test_finalfusions_file_is_its_text_and_ours_is_its(data: Path, tmp_path: Path) -> None:
    path = data / "formats/finalfusion/similarity.fifu"
    table, text = read(path), read(data / "formats/finalfusion/similarity.txt")
    assert detect(path) == "finalfusion" and table.words == text.words
    np.testing.assert_allclose(table.vectors, text.vectors, rtol=1e-5)
    assert not table.vectors.flags.writeable and not table.vectors.flags.owndata
    assert read(path, limit=3).words == text.words[:3]
    write(tmp_path / "a.fifu", table)
    assert (tmp_path / "a.fifu").read_bytes() == path.read_bytes()


def test_we_read_gensims(data: Path, tmp_path: Path) -> None:
    gensim = pytest.importorskip("gensim.models", reason="needs gensim")
    theirs = gensim.KeyedVectors.load_word2vec_format(str(data / "formats" / TEXT[0]))
    for name, options in (("a.vec", {}), ("a.bin", {"binary": True}), ("a.txt", {"write_header": False})):
        theirs.save_word2vec_format(str(tmp_path / name), **options)
        table = read(tmp_path / name)
        assert table.words == theirs.index_to_key
        np.testing.assert_array_equal(table.vectors, theirs.vectors)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gensim/pretrained.vec", "line 1 claims 3 words, and 1 lines follow"),
        ("gensim/compatible-hash-true.model", "a Python pickle"),
        ("gensim/COPYING.LGPL", "is not a number|is in no format that is known here"),
        ("gensim/reproduce.dat", "is in no format that is known here"),
        ("gensim/reproduce.dat.gz", "is in no format that is known here"),
    ],
)
def test_files_that_are_something_else(data: Path, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(data / "formats" / name)
