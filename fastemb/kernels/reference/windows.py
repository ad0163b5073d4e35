"""One window of text after the other: what the fast modes of skip-gram and CBOW share.

`train_windows` trains the sentences ``ids[offsets[i]:offsets[i + 1]]`` for i in ``[start, stop)`` and changes tables in
place. Frequent words are dropped before windows are formed, as in word2vec.c. A window has the *inputs* that its
context words make and the *outputs* of its centre word: the inner nodes on the word's path in a Huffman tree
(hierarchical softmax), then the word itself and random other words (negative sampling). They meet in blocks of at most
`OUTPUTS` outputs; the gradients of a block's logits are computed before its updates.

Input rows are trained in private copies, one for every place in the sentence, which is *lent* when the window reaches
the place and *given back* (its change is added to the table) when the window has left it, or earlier, after every
`staleness` windows. Where words are made of subwords the mean of a word's rows is lent, and its change is added to each
of them: fastText's update, in which each row gets the whole gradient.

Every random number is a function of `seed` and of the place of a token in `ids`, so what is trained does not depend on
how the sentences are handed out.
"""

import numpy as np

from fastemb.kernels.reference.random import random_u64

__all__ = ["LOGIT_LIMIT", "OUTPUTS", "train_windows"]

OUTPUTS = 6  # output rows that meet a window at a time: the centre word and five negatives fit in one block
LOGIT_LIMIT = 16.0  # |logit| beyond which the sigmoid is that of the limit


def train_windows(
    cbow, ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window, shrink_windows,
    negative, alpha, alpha_slope, seed, staleness, result,
):  # fmt: skip
    """Train with one set of negatives for all context words of a window.

    Parameters
    ----------
    cbow : None or (bool, bool)
        None for skip-gram, in which every context word is an input. Otherwise there is one input, made of all context
        words: the mean of their rows rather than the sum, and whether its change is divided by their number before it
        is added to each.
    ids : int32 (num_ids,)
    offsets : int64 (num_sentences + 1,)
    start, stop : int
        The range of sentences.
    weight_in, weight_out : float32 (number of rows, row length)
        Changed in place. Columns beyond the vector size hold zeros and stay so.
    subwords : None or (int32 (num_values,), int64 (num_words + 1,))
        Values and offsets: the rows of `weight_in` whose mean is the input of each word. None: its own row.
    rates : None or float32 (number of rows,)
        Factor on the learning rate of each row of `weight_in`; a row with 0 stays bit-identical.
    tree : None or (int32 (num_values,), uint8 (num_values,), int64 (num_words + 1,), float32 (num_words - 1, length))
        Points, codes and offsets of each word's path from the root (a Huffman tree), and the inner nodes' rows,
        which are changed in place. None: no hierarchical softmax.
    keep : float32 (num_words,)
        Probability to keep an occurrence of each word; 1 or more keeps all.
    noise : uint32 (num_words, 2)
        Alias table of the negatives: see `draw_noise`.
    window : int
        Most context words on each side.
    shrink_windows : bool
        Draw each window's size from 1 to `window` (word2vec.c's way) rather than use `window`.
    negative : int
        Negatives a window; 0 for no negative sampling.
    alpha, alpha_slope : float
        The learning rate of sentence i is ``alpha + alpha_slope * offsets[i]``.
    seed : int
        Of this epoch's random numbers.
    staleness : int
        Windows after which a lent row is given back and lent again.
    result : float64 (3,)
        Added to: the loss summed over distinct (input, output) pairs, the number of those pairs, the words kept.
    """
    for i in range(start, stop):
        rate = np.float32(alpha + alpha_slope * offsets[i])
        words, places = kept_words(ids, offsets[i], offsets[i + 1], keep, seed)
        result[2] += len(words)
        inputs = Inputs(weight_in, subwords, rates, words)
        for pos, word in enumerate(words):
            inputs.move_window(pos, window, staleness)
            context = context_of(pos, len(words), places[pos], window, shrink_windows, seed)
            drawn = draw_noise(noise, seed, int(places[pos]) * negative, negative)
            blocks = [*path_blocks(tree, word), *(noise_blocks(weight_out, word, drawn) if negative else [])]
            if cbow is None:
                rows = [inputs.rows[p] for p in context]
                for block in blocks:
                    _train_block(rows, [inputs.factor(p) for p in context], *block, rate, result)
            elif context:
                mean, divided = cbow
                number = sum(len(inputs.list_of(p)) for p in context)
                hidden = sum(np.float32(len(inputs.list_of(p))) * inputs.rows[p] for p in context)
                if mean:
                    hidden = hidden / np.float32(number)
                before = hidden.copy()
                for block in blocks:
                    _train_block([hidden], [1], *block, rate, result)
                change = (hidden - before) / np.float32(number if divided else 1)
                for p in context:
                    inputs.rows[p] += np.float32(inputs.factor(p)) * change
        for p in sorted(inputs.rows):
            inputs.give_back(p)


class Inputs:
    """The input rows that are lent to the places of a sentence."""

    def __init__(self, weight_in, subwords, rates, words):
        self.table, self.subwords, self.rates, self.words = weight_in, subwords, rates, words
        self.rows, self.before = {}, {}

    def list_of(self, p):
        """Return the rows that make the input of the word at `p`."""
        if self.subwords is None:
            return [self.words[p]]
        values, offsets = self.subwords
        return [int(row) for row in values[offsets[self.words[p]] : offsets[self.words[p] + 1]]]

    def factor(self, p):
        """Return the factor on the rate of that input: its rows' mean."""
        return 1.0 if self.rates is None else float(np.mean(self.rates[self.list_of(p)]))

    def lend(self, p):
        rows = self.list_of(p)
        self.rows[p] = self.table[rows].sum(axis=0) / self.table.dtype.type(len(rows))
        self.before[p] = self.rows[p].copy()

    def give_back(self, p):
        change, factor = self.rows.pop(p) - self.before.pop(p), self.factor(p)
        for row in self.list_of(p):
            own = 1.0 if self.rates is None else float(self.rates[row])
            if own != 0:
                self.table[row] += np.float32(own / factor) * change

    def move_window(self, pos, window, staleness):
        """Give back the row that the window has left, refresh those that are due, and lend those that it reaches."""
        if pos - window - 1 in self.rows:
            self.give_back(pos - window - 1)
        for p in sorted(self.rows):
            if (pos - p + window) % staleness == 0:
                self.give_back(p)
                self.lend(p)
        for p in range(0 if pos == 0 else pos + window, min(pos + window + 1, len(self.words))):
            self.lend(p)


def path_blocks(tree, word):
    """Yield the table, nodes and coefficients of the blocks of a word's path, and that inputs meet them in turn.

    The coefficient is that of label 1 where the code is 0.
    """
    if tree is None:
        return
    points, codes, offsets, weight_inner = tree
    first, last = offsets[word], offsets[word + 1]
    for at in range(first, last, OUTPUTS):
        end = min(at + OUTPUTS, last)
        yield weight_inner, points[at:end], 1.0 - 2.0 * codes[at:end], True


def noise_blocks(weight_out, centre, drawn):
    """Yield the table, words and coefficients of the blocks of a word and its negatives, met by all inputs at once.

    The coefficient is 1 for the centre word, for a negative -1 times how often the block has it: it is trained once,
    with the gradient of all. A negative that equals the centre word is skipped.
    """
    outputs = [centre, *drawn]
    for first in range(0, len(outputs), OUTPUTS):
        block = outputs[first : first + OUTPUTS]
        coefficients = np.zeros(len(block))
        for n, word in enumerate(block):
            if first + n == 0:
                coefficients[n] = 1
            elif word != centre:
                coefficients[block.index(word)] -= 1
        yield weight_out, block, coefficients, False


def _train_block(rows, factors, table, block, coefficients, in_turn, rate, result):
    """One step on the logits of every input row with every output row of the block; a coefficient of 0 is none.

    Input rows are changed by the output rows as they were or, `in_turn`, as the inputs before have left them, as if
    pairs were trained one by one. Measured, that is better for paths after several epochs, and worse for negatives.
    """
    outputs, used = table[block], coefficients != 0
    inputs = np.stack(rows) if rows else np.zeros((0, table.shape[1]), np.float32)
    sign = np.sign(coefficients)
    logits = np.clip(sign * (inputs.astype(np.float64) @ outputs.T), -LOGIT_LIMIT, LOGIT_LIMIT)
    gradient = (coefficients * rate / (1 + np.exp(logits))).astype(np.float32)
    result[0] += np.log1p(np.exp(-logits))[:, used].sum()
    result[1] += len(rows) * np.count_nonzero(used)
    change = gradient.T @ inputs
    for m, row in enumerate(rows):
        row += np.float32(factors[m]) * (gradient[m] @ outputs)
        if in_turn:
            outputs += np.outer(gradient[m], inputs[m])
    for n in np.flatnonzero(used):
        table[block[n]] += change[n]


def kept_words(ids, first, last, keep, seed):
    """Return the words of a sentence that subsampling keeps, and the place of each in `ids`."""
    places = [t for t in range(first, last) if _text_draw(seed, t) >> 40 < keep[ids[t]] * 2**24]
    return [int(ids[t]) for t in places], places


def context_of(pos, length, place, window, shrink_windows, seed):
    """Return the positions of the context words of `pos` in a sentence of `length` kept words."""
    reach = window
    if shrink_windows:
        reach -= (_text_draw(seed, place) & 0xFFFFFF) * window >> 24
    return [p for p in range(max(0, pos - reach), min(length, pos + reach + 1)) if p != pos]


def _text_draw(seed, place):
    return int(random_u64(random_u64(seed, 0), place))


def draw_noise(noise, seed, first, count, stream=1):
    """Draw words from an alias table (Walker 1977, "An efficient method for generating discrete random variables").

    ``noise[slot]`` holds a threshold and another word: a uniform slot is taken itself where a uniform 32-bit number
    is below its threshold, else the other word is.

    Parameters
    ----------
    noise : uint32 (num_words, 2)
    seed : int
    first, count : int
        The random numbers ``[first, first + count)`` of the noise stream are used.
    stream : int, default 1
        The stream; others than 1 are for drawing again.

    Returns
    -------
    list of int, length `count`
    """
    drawn = []
    for n in range(first, first + count):
        x = int(random_u64(random_u64(seed, stream), n))
        slot = (x >> 32) * len(noise) >> 32
        drawn.append(slot if (x & 0xFFFFFFFF) < noise[slot, 0] else int(noise[slot, 1]))
    return drawn
