"""How a model of text is trained: its arguments, its tables and a text become a loop."""

import math
import warnings

from fastemb.corpus.reader import Corpus
from fastemb.engine.huffman import HuffmanTree, huffman_paths
from fastemb.engine.parallel import get_num_threads
from fastemb.trainers.arithmetic import Arithmetic, arithmetic
from fastemb.trainers.building import VocabularyBuilder
from fastemb.trainers.loop import Loop, Tables
from fastemb.trainers.schedule import Monitor

__all__ = ["Training"]


class Training(VocabularyBuilder):
    """A model with the arguments of skip-gram and CBOW."""

    alpha: float | None
    min_alpha: float | None
    window: int
    sg: int
    ns_exponent: float | None
    cbow_mean: int
    cbow_update: str | None
    shrink_windows: bool
    shared_negatives: bool
    compat: str | None
    device: str

    @property
    def _start(self) -> float:
        return self._arithmetic.start

    @property
    def _arithmetic(self) -> Arithmetic:
        return arithmetic(
            self.compat, shared_negatives=self.shared_negatives, cbow_update=self.cbow_update, hs=bool(self.hs)
        )

    def _paths(self) -> HuffmanTree:
        """Return the words' paths in the tree, code 0 for label 1."""
        return huffman_paths(self._trained.counts, self._arithmetic.code_is_label)

    def _rates(self) -> tuple[float, float]:
        """Return the learning rate at the start and at the end."""
        how = self._arithmetic
        alpha = how.first_alpha(bool(self.sg), bool(self.cbow_mean)) if self.alpha is None else self.alpha
        return alpha, how.last_alpha(alpha) if self.min_alpha is None else self.min_alpha

    def _train(self, corpus: Corpus, epochs: int, alpha: float, min_alpha: float, monitor: Monitor) -> tuple[int, int]:
        state = self._trained
        how = self._arithmetic
        state.prepare(bool(self.hs), bool(self.negative))
        loop = Loop(
            counts=state.counts,
            tables=Tables(
                weight_in=state.weight_in,
                weight_out=state.weight_out if self.negative else None,
                weight_inner=state.weight_inner if self.hs else None,
                subwords=state.parts,
                rates=state.rates(),
            ),
            sg=bool(self.sg),
            cbow_mean=bool(self.cbow_mean),
            window=self.window,
            shrink_windows=self.shrink_windows,
            negative=self.negative,
            sample=self.sample,
            ns_exponent=how.ns_exponent if self.ns_exponent is None else self.ns_exponent,
            seed=self.seed,
            arithmetic=how,
            workers=self.workers or get_num_threads(),
            device=self.device,
        )
        monitor.call("on_train_begin")
        trained, state.running_loss = 0, 0.0
        try:
            for kept, loss in loop.run(corpus, epochs, alpha, min_alpha, state.epochs_trained, monitor):
                trained += kept
                state.epochs_trained += 1
                state.losses.append(loss)
                state.running_loss += monitor.loss_sum
                monitor.call("on_epoch_end")
        finally:
            state.refresh()
        if all(map(math.isnan, state.losses[-epochs:])):
            warnings.warn(
                f"no two words met in training: subsampling (sample={self.sample:g}) and min_count={self.min_count} "
                "left no sentence of two words, so the vectors are random",
                UserWarning,
                stacklevel=3,
            )
        monitor.call("on_train_end")
        return trained, corpus.num_words * epochs
