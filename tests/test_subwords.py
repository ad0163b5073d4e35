"""Hashes of words and n-grams, beside fastText, gensim, floret and plain Python."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.corpus.subwords import FLORET_SEED, Subwords, hash_words, word_ngram_rows
from fastemb.corpus.vocabulary import Vocabulary

WORDS = [
    "where",
    "a",
    "naïveté",
    "東京都",
    "👩‍👩‍👧",
    "𠀋x",
    "über-straße",
    "x" * 40,
    "<",
    ">",
    "<>",
    "e\u0301té",
    "\u0300a",
]
BYTES = [b"\xff\xfe", b"\x80", b"\x80\x80a", b"a\xc3", b"", b"\xf0\x9f", b"ab\xbfc"]
SIZES = [(3, 6), (1, 1), (1, 3), (0, 2), (2, 2), (6, 3), (5, 0), (30, 60)]
BUCKET = 1009


def fnv(text):
    """fastText's hash, in Python."""
    h = 2166136261
    for byte in text:
        h = (h ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619 & 0xFFFFFFFF
    return h


def ngrams(word, min_n, max_n):
    """The n-grams of bytes, in fastText's order, as its documentation tells them."""
    text = b"<" + word + b">"
    starts = [i for i, byte in enumerate(text) if byte & 0xC0 != 0x80]
    chars = [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    found = []
    for i in range(len(chars)):
        for n in range(max(min_n, 1), max_n + 1):
            is_frame = n == 1 and i in (0, len(chars) - 1)
            if i + n <= len(chars) and not is_frame:
                found.append(b"".join(chars[i : i + n]))
    return found


def murmur(text, seed):
    """MurmurHash3_x64_128 in Python: four numbers of 32 bits."""
    mask = 2**64 - 1
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F

    def turn(x, bits):
        return (x << bits | x >> 64 - bits) & mask

    def finish(x):
        x = (x ^ x >> 33) * 0xFF51AFD7ED558CCD & mask
        x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53 & mask
        return x ^ x >> 33

    a = b = seed
    for i in range(0, len(text) // 16 * 16, 16):
        low, high = (int.from_bytes(text[i + k : i + k + 8], "little") for k in (0, 8))
        a ^= turn(low * c1 & mask, 31) * c2 & mask
        a = ((turn(a, 27) + b) * 5 + 0x52DCE729) & mask
        b ^= turn(high * c2 & mask, 33) * c1 & mask
        b = ((turn(b, 31) + a) * 5 + 0x38495AB5) & mask
    rest = text[len(text) // 16 * 16 :]
    b ^= turn(int.from_bytes(rest[8:], "little") * c2 & mask, 33) * c1 & mask
    a ^= turn(int.from_bytes(rest[:8], "little") * c1 & mask, 31) * c2 & mask
    a, b = a ^ len(text), b ^ len(text)
    a = (a + b) & mask
    b = (b + a) & mask
    a, b = finish(a), finish(b)
    a = (a + b) & mask
    b = (b + a) & mask
    return [a & 0xFFFFFFFF, a >> 32, b & 0xFFFFFFFF, b >> 32]


def rows_of(words, num_words=0, **how):
    values, offsets = Subwords(**how).of_words(Vocabulary.from_bytes(words), num_words)
    return [values[a:b].tolist() for a, b in itertools.pairwise(offsets)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return fastText's models of a tiny text, by the sizes of their n-grams."""
    fasttext = pytest.importorskip("fasttext", reason="fasttext is not installed")
    path = tmp_path_factory.mktemp("subwords") / "text.txt"
    path.write_text("\n".join([" ".join(WORDS)] * 3), encoding="utf-8")
    # With fewer threads fastText leaves rows as they were in memory, which may be NaN.
    how = {"dim": 2, "bucket": BUCKET, "epoch": 1, "thread": 12, "minCount": 1, "verbose": 0}
    return {
        (a, b): fasttext.train_unsupervised(str(path), minn=a, maxn=b, **how)
        for a, b in [(3, 6), (1, 3), (0, 2)]
    }  # fmt: skip


def test_fasttext_has_the_same_rows(models):
    for (min_n, max_n), model in models.items():
        how = {"min_n": min_n, "max_n": max_n, "bucket": BUCKET}
        words = model.get_words()
        assert "</s>" in words
        values, offsets = Subwords(**how).of_vocabulary(Vocabulary.from_words(words))
        for i, word in enumerate(words):
            assert values[offsets[i] : offsets[i + 1]].tolist() == model.get_subwords(word)[1].tolist()
        unseen = [*BYTES, b"unseen", "東京".encode(), "🙂".encode()]
        found = rows_of(unseen, len(words), **how)
        for word, rows in zip(unseen, found, strict=True):
            assert rows == list(model.f.getSubwords(word, "replace")[1])
        assert rows_of([b"</s>"], len(words), **how) == [[]]


def test_fasttext_hashes_the_same(models):
    model = models[3, 6]
    for word in WORDS:
        text = word.encode()
        hashed = hash_words(np.frombuffer(text, np.uint8), np.array([0, len(text)]))
        assert len(model.get_words()) + int(hashed[0]) % BUCKET == model.get_subword_id(word)


def test_gensim_has_the_same_ngrams():
    inner = pytest.importorskip("gensim.models.fasttext_inner", reason="gensim is not installed")
    for min_n, max_n in SIZES:
        how = {"min_n": min_n, "max_n": max_n, "bucket": BUCKET}
        theirs = [[inner.ft_hash_bytes(n) % BUCKET for n in inner.compute_ngrams_bytes(w, min_n, max_n)] for w in WORDS]
        assert rows_of([word.encode() for word in WORDS], **how) == theirs


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    words=st.lists(st.binary(max_size=12) | st.text(max_size=8).map(lambda text: text.encode("utf-8", "replace"))),
    sizes=st.sampled_from(SIZES),
    bucket=st.sampled_from([1, 7, 2_000_000, 2**31 - 20]),
)
def test_any_bytes(words, sizes, bucket):
    min_n, max_n = sizes
    expected = [[5 + fnv(n) % bucket for n in ngrams(w, min_n, max_n)] if w != b"</s>" else [] for w in words]
    assert rows_of(words, 5, min_n=min_n, max_n=max_n, bucket=bucket) == expected
    vocabulary = Vocabulary.from_bytes(words)
    assert hash_words(vocabulary.packed, vocabulary.offsets).tolist() == [fnv(word) for word in words]


def test_murmur_is_the_published_one():
    """The verification value of the hash's author: of the hashes of 0, 1, ... bytes under falling seeds."""
    hashes = b"".join(
        number.to_bytes(4, "little") for size in range(256) for number in murmur(bytes(range(size)), 256 - size)
    )
    assert murmur(hashes, 0)[0] == 0x6384BA69


@settings(max_examples=60, deadline=None, derandomize=True)
@given(words=st.lists(st.binary(max_size=40), max_size=4), sizes=st.sampled_from(SIZES), count=st.integers(1, 4))
def test_floret(words, sizes, count):
    min_n, max_n = sizes
    expected = [
        [h % 50 for part in [b"<" + w + b">", *ngrams(w, min_n, max_n)] for h in murmur(part, FLORET_SEED)[:count]]
        for w in words
    ]
    how = {"min_n": min_n, "max_n": max_n, "bucket": 50, "hash_count": count}
    assert rows_of(words, 3, **how) == expected
    values, offsets = Subwords(**how).of_vocabulary(Vocabulary.from_bytes(words))
    assert values.tolist() == [row for rows in expected for row in rows]
    assert len(offsets) == len(words) + 1


def test_all_threads_give_the_same():
    words = Vocabulary.from_words([f"word{number}" for number in range(20_000)])
    one, three = (Subwords(bucket=1000).of_vocabulary(words, workers) for workers in (1, 3))
    np.testing.assert_array_equal(one[0], three[0])
    np.testing.assert_array_equal(one[1], three[1])
    assert one[0][one[1][:-1]].tolist() == list(range(20_000))


def test_pruned_table():
    words = Vocabulary.from_words(["cat", "cats", "dog"])
    whole = Subwords(bucket=50)
    values, offsets = whole.of_vocabulary(words)
    kept = np.array([3, 8, 20, 33, 40, 49], np.int32)
    rows = np.array([5, 4, 3, 2, 1, 0], np.int32)
    for kept_rows in (None, rows):
        left, ends = Subwords(bucket=50, kept=kept, kept_rows=kept_rows).of_vocabulary(words)
        for i in range(3):
            expected = [i]
            for value in values[offsets[i] + 1 : offsets[i + 1]].tolist():
                if value - 3 in kept:
                    place = kept.tolist().index(value - 3)
                    expected.append(3 + (place if kept_rows is None else int(rows[place])))
            assert left[ends[i] : ends[i + 1]].tolist() == expected
    nothing, ends = Subwords(bucket=50, kept=kept[:0]).of_vocabulary(words)
    assert nothing.tolist() == [0, 1, 2]
    assert ends.tolist() == [0, 1, 2, 3]
    assert Subwords(bucket=50, kept=kept).table_rows(3) == 9


def test_word_ngrams():
    lines = [[1, 2**32 - 5, 7, 7], [], [3], [2**31, 2**31 + 1]]
    hashes = np.array([h for line in lines for h in line], np.uint32).view(np.int32)
    offsets = np.cumsum([0, *map(len, lines)])
    for n in (0, 1, 2, 3, 9):
        expected = []
        for line in lines:
            signed = [h - 2**32 if h >= 2**31 else h for h in line]
            found = []
            for i in range(len(signed)):
                h = signed[i]
                for j in range(i + 1, min(i + n, len(signed))):
                    h = (h * 116049371 + signed[j]) % 2**64
                    found.append(10 + h % 77)
            expected.append(found)
        values, ends = word_ngram_rows(hashes, offsets, n, 77, 10)
        assert [values[a:b].tolist() for a, b in itertools.pairwise(ends)] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_n": -1}, "min_n must be an integer in"),
        ({"bucket": 2**31}, "bucket must be an integer in"),
        ({"hash_count": 5}, "hash_count must be an integer in"),
        ({"hash_count": 1, "bucket": 0}, "bucket must be at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Subwords(**arguments)


def test_bad_offsets_are_refused():
    from fastemb.corpus._subword import subword_rows

    packed = np.zeros(4, np.uint8)
    for offsets in ([0, 5], [3, 1], [-1, 2]):
        with pytest.raises(ValueError, match="offsets must rise"):
            subword_rows(packed, np.array(offsets), 0, 1, 3, 6, 10, 0, 0, False)
        with pytest.raises(ValueError, match="offsets must rise"):
            word_ngram_rows(np.zeros(4, np.int32), np.array(offsets), 2, 10)
    with pytest.raises(ValueError, match="words must be in"):
        subword_rows(packed, np.array([0, 1]), 0, 2, 3, 6, 10, 0, 0, False)


def test_too_many_rows_are_refused():
    with pytest.raises(ValueError, match="bucket must be an integer in"):
        Subwords(bucket=2**31 - 1).of_vocabulary(Vocabulary.from_words(["a"]))


def test_floret_itself(tmp_path):
    floret = pytest.importorskip("floret", reason="floret is not installed")
    (tmp_path / "text.txt").write_text("\n".join([" ".join(WORDS)] * 3), encoding="utf-8")
    for count in (1, 4):
        how = {"minn": 2, "maxn": 4, "bucket": 97, "mode": "floret", "hashCount": count}
        model = floret.train_unsupervised(
            str(tmp_path / "text.txt"), dim=2, epoch=1, thread=1, minCount=1, verbose=0, **how
        )
        num_words = len(model.get_words())
        ours = rows_of([b"unseen", "東".encode()], min_n=2, max_n=4, bucket=97, hash_count=count)
        for word, rows in zip(["unseen", "東"], ours, strict=True):
            assert [row + num_words for row in rows] == list(model.f.getSubwords(word.encode(), "strict")[1])
