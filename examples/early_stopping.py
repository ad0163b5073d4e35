"""End training when an epoch no longer lowers the loss by one per cent."""

from contextlib import suppress

from fastemb import Word2Vec


class EarlyStop(Exception):
    """Raised by the callback to leave `train`."""


class StopWhenFlat:
    def on_epoch_end(self, model: Word2Vec) -> None:
        losses = model.losses
        if len(losses) > 1 and losses[-1] > 0.99 * losses[-2]:
            raise EarlyStop


model = Word2Vec(vector_size=50, callbacks=[StopWhenFlat()])
model.build_vocab(corpus_file="text.txt")
with suppress(EarlyStop):
    model.train(corpus_file="text.txt", epochs=20)
print(f"{len(model.losses)} epochs, loss {model.losses[-1]:.3f}, {len(model.wv)} words")
