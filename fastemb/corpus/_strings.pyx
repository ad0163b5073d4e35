"""From Python's strings to packed UTF-8 and back."""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

import numpy as np

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL


@cython.final
cdef class Packer:
    """Turn an iterable of token lists into blocks of packed tokens.

    Each block is a tuple of ``text`` (uint8: the tokens' UTF-8 bytes one after the other, then 64 bytes more),
    ``edges`` (uint32: token `i` is ``text[edges[i]:edges[i + 1]]``) and ``lines`` (int32: tokens before each
    sentence's end; ends without a token between them are one). A sentence may go on in the next block.

    Parameters
    ----------
    sentences
        The iterable; it is read once.
    errors
        What to do with surrogates, which UTF-8 cannot hold: an `errors` value of ``str.encode``.
    max_tokens, max_bytes
        Size of a block; a token that is longer gets a block of its own.

    Raises
    ------
    TypeError
        If a sentence is a str or no iterable, or a token is not a str.
    ValueError
        If a token holds surrogates and `errors` does not accept them.
    """

    cdef object sentences, errors, tokens, pending
    cdef int64_t number, position    # of the sentence and token at hand
    cdef Py_ssize_t max_tokens, max_bytes
    # The block at hand: its arrays, and pointers into them.
    cdef object text, edges, lines
    cdef uint8_t* text_start
    cdef uint32_t* edges_start
    cdef int32_t* lines_start
    cdef Py_ssize_t size, capacity, num_tokens, num_lines

    def __init__(self, sentences, errors="strict", Py_ssize_t max_tokens=1 << 18, Py_ssize_t max_bytes=1 << 21):
        self.sentences, self.errors = iter(sentences), errors
        self.max_tokens, self.max_bytes = max(max_tokens, 1), max(max_bytes, 1)
        self.number = -1

    @property
    def num_sentences(self):
        """Sentences taken so far."""
        return self.number + 1

    def __iter__(self):
        return self

    def __next__(self):
        if self.sentences is None:
            raise StopIteration
        self.new_block()
        while self.tokens is not None or self.next_sentence():
            if not self.fill():
                return self.block()
            self.tokens = None
        self.sentences = None
        return self.block()

    cdef int new_block(self) except -1:
        cdef uint8_t[::1] text
        cdef uint32_t[::1] edges
        cdef int32_t[::1] lines
        self.capacity = self.max_bytes if self.pending is None else max(self.max_bytes, len(self.pending))
        self.text = text = np.empty(self.capacity + 64, np.uint8)
        self.edges = edges = np.empty(self.max_tokens + 1, np.uint32)
        self.lines = lines = np.empty(self.max_tokens + 1, np.int32)
        self.text_start, self.edges_start, self.lines_start = &text[0], &edges[0], &lines[0]
        self.size = self.num_tokens = self.num_lines = 0
        self.edges_start[0] = 0
        return 0

    cdef object block(self):
        text, edges, lines = self.text, self.edges, self.lines
        self.text = self.edges = self.lines = None
        text[self.size : self.size + 64] = 0
        return text[: self.size + 64], edges[: self.num_tokens + 1], lines[: self.num_lines]

    cdef bint next_sentence(self) except -1:
        try:
            sentence = next(self.sentences)
        except StopIteration:
            return False
        self.number += 1
        self.position = -1
        if isinstance(sentence, (str, bytes)):
            raise TypeError(
                f"sentence {self.number} must be a list of tokens, got the {type(sentence).__name__} "
                f"{shorten(sentence)}; split it into tokens first, for example with sentence.split()"
            )
        try:
            self.tokens = iter(sentence)
        except TypeError:
            raise TypeError(f"sentence {self.number} must be a list of tokens, got {shorten(sentence)}") from None
        return True

    cdef bint fill(self) except -1:
        """Append the rest of the sentence at hand; false if the block is full."""
        cdef const char* word
        cdef Py_ssize_t length = 0
        if self.pending is not None:
            self.append(<const char*><bytes>self.pending, len(self.pending))
            self.pending = None
        for token in self.tokens:
            self.position += 1
            if not isinstance(token, str):
                raise TypeError(
                    f"tokens must be str, got the {type(token).__name__} {shorten(token)} at position {self.position} "
                    f"of sentence {self.number}"
                )
            # A list of tokens is walked without running any Python code that would notice Ctrl-C.
            if self.position & 0xffff == 0xffff:
                PyErr_CheckSignals()
            try:
                word = PyUnicode_AsUTF8AndSize(token, &length)
            except UnicodeEncodeError:
                token = self.encode(token)
                word, length = <const char*><bytes>token, len(token)
            # An empty token is no word.
            if length > 0 and not self.append(word, length):
                self.pending = word[:length]
                return False
        if self.num_lines == 0 or self.lines_start[self.num_lines - 1] != self.num_tokens:
            self.lines_start[self.num_lines] = <int32_t>self.num_tokens
            self.num_lines += 1
        return True

    cdef bint append(self, const char* word, Py_ssize_t length) noexcept:
        """Append a token; false if the block has no room for it."""
        if self.num_tokens == self.max_tokens or length > self.capacity - self.size:
            return False
        memcpy(self.text_start + self.size, word, length)
        self.size += length
        self.num_tokens += 1
        self.edges_start[self.num_tokens] = <uint32_t>self.size
        return True

    cdef object encode(self, token):
        try:
            return token.encode("utf-8", self.errors)
        except UnicodeEncodeError as error:
            raise ValueError(
                f"tokens must be valid Unicode, got {shorten(token)} at position {self.position} of sentence "
                f"{self.number} ({error.reason}); errors='surrogateescape' or 'replace' may accept it"
            ) from None


def join_lines(const uint8_t[::1] data, const int64_t[::1] offsets, uint8_t[::1] out):
    r"""Write the strings ``data[offsets[i]:offsets[i + 1]]`` to `out`, a line end after each.

    Examples
    --------
    >>> out = np.zeros(6, np.uint8)
    >>> join_lines(np.frombuffer(b"abcd", np.uint8), np.array([0, 1, 1, 3]), out)
    >>> out.tobytes()
    b'a\n\nbc\n'
    """
    cdef int64_t i, length, at = 0, n = offsets.shape[0] - 1
    for i in range(n):
        if not 0 <= offsets[i] <= offsets[i + 1] <= data.shape[0]:
            raise ValueError(f"offsets must rise from 0 to {data.shape[0]}, got {offsets[i]} at position {i}")
    if n > 0 and out.shape[0] != offsets[n] - offsets[0] + n:
        raise ValueError(f"out must have {offsets[n] - offsets[0] + n} bytes, got {out.shape[0]}")
    with nogil:
        for i in range(n):
            length = offsets[i + 1] - offsets[i]
            if length > 0:
                memcpy(&out[at], &data[offsets[i]], length)
            out[at + length] = 10
            at += length + 1


def shorten(value):
    """Return the beginning of a value's repr, for a message.

    Examples
    --------
    >>> print(shorten("word " * 100))
    'word word word word word word word word word word word word...
    """
    # A long str is cut first, since its whole repr would take time and memory.
    text = repr(value[:80] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= 60 else text[:60] + "..."


def decode_words(const uint8_t[::1] packed, const int64_t[::1] offsets, str errors):
    """Return packed UTF-8 words as a list of str."""
    cdef Py_ssize_t i, n = offsets.shape[0] - 1
    cdef bytes handler = errors.encode()
    cdef const char* handler_name = handler
    cdef const char* text = ""
    cdef list words = [None] * n
    if packed.shape[0] > 0:
        text = <const char*>&packed[0]
    for i in range(n):
        if not 0 <= offsets[i] <= offsets[i + 1] <= packed.shape[0]:
            raise ValueError(f"offsets must rise from 0 to {packed.shape[0]}, got {offsets[i]} at position {i}")
        words[i] = PyUnicode_DecodeUTF8(text + offsets[i], offsets[i + 1] - offsets[i], handler_name)
    return words
