"""What is told of training while it goes on."""

__all__ = ["CallbackAny2Vec"]


class CallbackAny2Vec:
    """Base of callbacks, under gensim's name; each method does nothing until a subclass gives it something to do.

    Any object with some of these methods is a callback, too, and may have ``on_progress(model, progress)`` besides,
    which is called a few times a second; see `fastemb.trainers.schedule.Progress`.

    Examples
    --------
    >>> from fastemb import Word2Vec
    >>> class Tell(CallbackAny2Vec):
    ...     def on_epoch_end(self, model):
    ...         print("epoch", len(model.losses))
    >>> model = Word2Vec([["a", "b", "c"]] * 10, vector_size=8, min_count=1, epochs=2, callbacks=[Tell()])
    epoch 1
    epoch 2
    """

    def on_train_begin(self, model: object) -> None:
        """Be told that training begins."""

    def on_epoch_begin(self, model: object) -> None:
        """Be told that an epoch begins."""

    def on_epoch_end(self, model: object) -> None:
        """Be told that an epoch has ended; the model may be used, and saved."""

    def on_train_end(self, model: object) -> None:
        """Be told that training has ended."""
