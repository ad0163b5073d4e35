"""The differences of arithmetic among the programs that train word vectors, each a switch with a name."""

from dataclasses import dataclass, replace
from typing import Literal

from fastemb.engine import validate

__all__ = ["ARITHMETIC", "CBOW_UPDATES", "COMPAT", "Arithmetic", "arithmetic"]

CBOW_UPDATES = ("corrected", "classic")
# At 0.075 sums were worse after three epochs than at 0.05, and at 0.1 they fell apart.
SUM_ALPHA = 0.05


@dataclass(frozen=True)
class Arithmetic:
    """How a program trains; the defaults are fastemb's own.

    Parameters
    ----------
    pairwise : bool
        Train one output after the other on the tables themselves, and draw negatives for each pair of skip-gram, rather
        than in blocks on rows that are lent.
    sigmoid_limit, sigmoid_size, sigmoid_scale : float, int, float
        Of `pairwise`: the sigmoid is a table of so many values over ``[-limit, limit)``, and a logit's value is at the
        place ``int((logit + limit) * scale)``. word2vec.c and gensim divide integers, 1000 / 6 / 2 = 83, which makes
        every sigmoid a little too small.
    saturates, path_saturates : bool
        Of `pairwise`: beyond the limit the sigmoid is 0 or 1, in negative sampling and in hierarchical softmax. False
        skips the pair.
    redraws : bool
        Of `pairwise`: a negative that equals the output word is drawn again rather than skipped.
    centre_is_input : bool
        Of `pairwise`: skip-gram's inputs are the centre word and its outputs the context words, rather than the other
        way round.
    code_is_label : bool
        An inner node learns the path's code rather than 1 less the code: its vectors have the other sign.
    divides_sum : bool
        With ``cbow_mean=0`` the change of CBOW's input is divided by the number of context words.
    cbow_update : {"corrected", "classic"}
        With ``cbow_mean=1``: whether that change is divided, as the gradient is.
    start : float
        Input rows begin uniform in ±start / vector_size.
    skipgram_alpha, cbow_alpha, corrected_alpha, sum_alpha : float
        The learning rate where none is given; `corrected_alpha` is that of CBOW's corrected update, whose changes are
        smaller, `sum_alpha` that of ``cbow_mean=0``, whose inputs are larger; None for `cbow_alpha`.
    ns_exponent : float
        The same for the power of the counts by which negatives are drawn.
    end : {"absolute", "share", "zero"}
        The learning rate at the end where none is given: 1e-4, 1e-4 of the first rate, or 0.
    order : {"text", "random", "starts"}
        Train the text from its first sentence to its last; its parts in a random order, as hierarchical softmax and
        `FastText` do; or from as many places as there are threads, as word2vec.c, fastText and gensim do with a file.
    keep_share_of : {"retained", "all"}
        Subsampling sees a word's share of the words in the vocabulary, or of all words read.
    """

    pairwise: bool = False
    sigmoid_limit: float = 6.0
    sigmoid_size: int = 1000
    sigmoid_scale: float = 1000 / 12
    saturates: bool = True
    path_saturates: bool = False
    redraws: bool = False
    centre_is_input: bool = False
    code_is_label: bool = False
    divides_sum: bool = False
    cbow_update: str = "classic"
    start: float = 0.5
    skipgram_alpha: float = 0.035
    cbow_alpha: float = 0.075
    corrected_alpha: float = 0.2
    sum_alpha: float | None = None
    ns_exponent: float = 0.75
    order: Literal["text", "random", "starts"] = "text"
    end: Literal["absolute", "share", "zero"] = "absolute"
    keep_share_of: Literal["retained", "all"] = "retained"

    @property
    def rule(self) -> tuple[float, float, bool, bool, bool, bool]:
        """What the pairwise kernels are told."""
        path_saturates, redraws, centre_is_input = self.path_saturates, self.redraws, self.centre_is_input
        return self.sigmoid_limit, self.sigmoid_scale, self.saturates, path_saturates, redraws, centre_is_input

    def first_alpha(self, sg: bool, cbow_mean: bool) -> float:
        """Return the rate at which training starts, where none is given.

        Examples
        --------
        >>> Arithmetic(cbow_update="corrected").first_alpha(sg=False, cbow_mean=True)
        0.2
        """
        if sg:
            return self.skipgram_alpha
        if not cbow_mean and self.sum_alpha is not None:
            return self.sum_alpha
        return self.corrected_alpha if cbow_mean and self.cbow_update == "corrected" else self.cbow_alpha

    def last_alpha(self, alpha: float) -> float:
        """Return the rate at which training ends, where none is given.

        Examples
        --------
        >>> ARITHMETIC["fasttext"].last_alpha(alpha=0.05)
        0.0
        """
        return {"absolute": 1e-4, "share": alpha * 1e-4, "zero": 0.0}[self.end]


ARITHMETIC = {
    "word2vec.c": Arithmetic(
        pairwise=True, sigmoid_scale=83.0, skipgram_alpha=0.025, cbow_alpha=0.05, end="share", order="starts",
    ),
    "gensim": Arithmetic(
        pairwise=True, sigmoid_scale=83.0, saturates=False, divides_sum=True, start=1.0, skipgram_alpha=0.025,
        cbow_alpha=0.025,
    ),
    "fasttext": Arithmetic(
        pairwise=True, sigmoid_limit=8.0, sigmoid_size=512, sigmoid_scale=32.0, path_saturates=True, redraws=True,
        centre_is_input=True, code_is_label=True, start=1.0, skipgram_alpha=0.05, cbow_alpha=0.05, ns_exponent=0.5,
        end="zero", keep_share_of="all", order="starts",
    ),
}  # fmt: skip
"""The programs whose arithmetic `Word2Vec` can take on."""
COMPAT = (*ARITHMETIC, "glove")


def arithmetic(
    compat: str | None, *, shared_negatives: bool = True, cbow_update: str | None = None, hs: bool = False
) -> Arithmetic:
    """Return how to train.

    Parameters
    ----------
    compat : {None, "word2vec.c", "gensim", "fasttext"}
        None for fastemb's own way.
    shared_negatives : bool, default True
        False: pairwise, as `compat` is always.
    cbow_update : {"corrected", "classic"}, optional
        In place of the program's.
    hs : bool, default False
        Hierarchical softmax: without `compat`, in a random order.

    Raises
    ------
    ValueError
        If there is no such program, or it trains no such vectors.

    Examples
    --------
    >>> arithmetic("fasttext").sigmoid_limit
    8.0
    >>> arithmetic(None, cbow_update="corrected").cbow_update
    'corrected'
    >>> arithmetic(None, hs=True).order
    'random'
    """
    if compat is None:
        # Words of the whole text share a tree's nodes, which would follow what one part of it is about after the other.
        chosen = Arithmetic(pairwise=not shared_negatives, sum_alpha=SUM_ALPHA, order="random" if hs else "text")
    elif validate.choice("compat", compat, COMPAT) == "glove":
        raise ValueError("compat='glove' is for GloVe: its arithmetic has no windows to train")
    else:
        chosen = ARITHMETIC[compat]
    return chosen if cbow_update is None else replace(chosen, cbow_update=cbow_update)
