"""What Embedding and EmbeddingBag share: how a table is made, kept, given away, and what it remembers of forwards."""

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypedDict

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastemb.engine import operations
from fastemb.engine.backend import checked_device
from fastemb.engine.device import DeviceArray, on_host
from fastemb.engine.foreign import host_of, in_kind, is_foreign, wrap
from fastemb.engine.ragged import POLICIES, padding_row
from fastemb.engine.validate import boolean, choice, integer
from fastemb.layers import constraints, initializers, regularizers
from fastemb.layers.adaptable import Adaptable
from fastemb.layers.memory import MappedMemory, Memory, allocate, given_table, moved
from fastemb.layers.parameter import Parameter
from fastemb.layers.rows import kept_dtype
from fastemb.layers.saving import load_tables
from fastemb.layers.tape import Remembering, apart

__all__ = ["TableLayer", "TableOptions"]


class TableOptions(TypedDict, total=False):
    """The arguments of `TableLayer` that all layers take by name."""

    W: Any
    dtype: DTypeLike | None
    device: str | None
    seed: Any
    embeddings_initializer: Any
    embeddings_regularizer: Any
    embeddings_constraint: Any
    lora_rank: int | None
    lora_alpha: float | None
    freeze: Any
    storage: Any
    optimizer: Any
    on_invalid: str


class TableLayer(Adaptable):
    """A table that looks up, remembers what it looked up, and is trained by it: `Embedding` and `EmbeddingBag`.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        The table's shape.
    padding_idx : int, optional
        A row that gets no gradient and starts as zeros; counted from the end where it is negative. In an array that was
        given it keeps its numbers, as in torch.
    max_norm : float, optional
        Rows whose norm is larger are scaled to it, in place, when they are looked up: in training, in evaluation and in
        frozen tables alike, as in torch.
    norm_type : float, default 2
        p of that norm.
    scale_grad_by_freq : bool, default False
        Divide each contribution to the gradient by how often its row was looked up in the batch.
    sparse : bool, default False
        Taken for torch's sake; a gradient is rows either way.
    W : array or callable, optional
        The table itself, shared and not copied, or what makes it from a shape, as in Lasagne.
    dtype : dtype, default float32
        float64, float32, float16 or "bfloat16". Short tables are computed in float32. An array `W` of another dtype is
        converted, and so copied.
    device : {"cpu", "reference", "cuda"}, default "cpu"
        Which kernels run; with "cuda" the table lies in a GPU's memory, where a table of a GPU that is given as `W` is
        shared. Arrays of NumPy give arrays of NumPy; indices on the GPU give rows there.
    seed : int, SeedSequence or Generator, optional
        What fresh numbers are drawn from; default the system's entropy.
    embeddings_initializer : str, callable or array, optional
        Keras' names ("uniform", "normal", "glorot_uniform", ...) with Keras' meanings, an initializer of
        `fastemb.layers.initializers`, any callable, or the numbers, which are copied. Default torch's N(0, 1).
    embeddings_regularizer : str or Regularizer, optional
        "l1", "l2", "l1_l2" or one of `fastemb.layers.regularizers`: adds its gradient on the rows that were looked up.
    embeddings_constraint : str or callable, optional
        "max_norm", "min_max_norm", "unit_norm", "non_neg", one of `fastemb.layers.constraints`, or a callable from rows
        to rows: applied to the rows that an update has changed.
    lora_rank : int, optional
        See `enable_lora`.
    lora_alpha : float, optional
    freeze : bool or bool (num_embeddings,), default False
        The table, or the rows where it is True, gets no gradient.
    storage : "shared" or path-like, optional
        Shared memory, or an .npy file that is mapped: one that exists keeps its numbers, else it is made. Default the
        memory of this process.
    optimizer : fastemb.optim.Optimizer, optional
        Applied in each `backward`, fused with the gradient; without one `backward` adds to `grad`.
    on_invalid : {"raise", "clip", "pad", "hash"}, default "raise"
        What becomes of an index outside the table.

    Examples
    --------
    >>> from fastemb import Embedding
    >>> layer = Embedding(4, 2, embeddings_initializer="ones", freeze=[False, True, False, False], on_invalid="clip")
    >>> layer.eval()([0, 7])
    array([[1., 1.],
           [1., 1.]], dtype=float32)
    """

    # The arguments that say what is looked up, which LoRA's first table shares.
    looks_up: ClassVar[tuple[str, ...]] = ("padding_idx", "scale_grad_by_freq", "device", "on_invalid")

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        W: Any = None,
        dtype: DTypeLike | None = None,
        device: str | None = None,
        seed: Any = None,
        embeddings_initializer: Any = None,
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        freeze: Any = False,
        storage: Any = None,
        optimizer: Any = None,
        on_invalid: str = "raise",
    ) -> None:
        shape = integer("num_embeddings", num_embeddings, 0), integer("embedding_dim", embedding_dim, 1)
        self.padding_idx = None if padding_idx is None else padding_row(padding_idx, shape[0])
        self.max_norm, self.norm_type = constraints.norm_bound(max_norm, norm_type)
        self.scale_grad_by_freq = boolean("scale_grad_by_freq", scale_grad_by_freq)
        self.sparse = boolean("sparse", sparse)
        self.device = checked_device(device or "cpu")
        self.on_invalid = choice("on_invalid", on_invalid, POLICIES)
        self.embeddings_initializer = W if callable(W) else embeddings_initializer
        self.generator = np.random.default_rng(seed)
        Remembering.__init__(self)
        Parameter.__init__(
            self,
            *self._placed(*self._make_table(shape, None if callable(W) else W, dtype, storage, freeze is True)),
            embeddings_regularizer=regularizers.get(embeddings_regularizer),
            embeddings_constraint=constraints.get(embeddings_constraint),
            optimizer=optimizer,
        )
        self.frozen = freeze
        if self.max_norm is not None and not self.table.flags.writeable:
            raise ValueError("max_norm changes the table in place, but the table is read-only")
        if lora_rank is not None:
            self.enable_lora(lora_rank, lora_alpha)
        elif self.optimizer is not None and (self._frozen is True or not self.table.flags.writeable):
            why = "it is frozen" if self._frozen is True else "W is read-only"
            raise ValueError(f"optimizer would change the table, but {why}")

    def _make_table(
        self, shape: tuple[int, int], given: Any, dtype: Any, storage: Any, frozen: bool
    ) -> tuple[Memory, np.dtype]:
        """Return the table's memory, and the dtype that it is shown in."""
        if given is None:
            kept, shown = kept_dtype(np.float32 if dtype is None else dtype)
            return allocate(storage, shape, kept, self._fill_fresh), shown
        if storage is not None:
            raise ValueError("W is a table and storage tells where to make one: give one of them")
        return given_table(given, shape, dtype, frozen)

    def _placed(self, memory: Memory, shown: np.dtype) -> tuple[Memory, np.dtype]:
        return moved(memory, self.device), shown

    def to(self, device: str) -> Self:
        """Move the table to the memory of another device; return the layer.

        What an optimizer remembers of it follows at the next update. Gradients and forwards of before are forgotten.

        Parameters
        ----------
        device : {"cpu", "reference", "cuda"}

        Raises
        ------
        ValueError
            If the table is in a file or in shared memory, or the layer has LoRA, and the device is "cuda".
        ImportError, RuntimeError
            If there is no GPU that can be used.

        Examples
        --------
        >>> from fastemb import Embedding
        >>> Embedding(3, 2).to("reference").device
        'reference'
        """
        self.flush()
        memory = moved(self._memory, checked_device(device))
        if device == "cuda" and self.lora is not None:
            raise ValueError("lora is not there for device 'cuda': merge it first")
        with self._lock:
            self.device, self._memory = device, memory
        self.forget()
        self.zero_grad()
        return self

    def _in_kind(self, found: Any, given: Any) -> Any:
        """Return what is on a GPU as the user's indices are: there, as their package's arrays, or on the host."""
        return in_kind(found, given) if isinstance(found, DeviceArray) else found

    def _checked_place(self, indices: Any) -> Any:
        """Return indices that kernels of this device can read."""
        if isinstance(indices, DeviceArray) and self.device != "cuda":
            raise ValueError(f"input is on a GPU and the table on device {self.device!r}: call to('cuda') first")
        return indices

    def _fill_fresh(self, table: NDArray) -> None:
        initializers.start_table(table, self.embeddings_initializer, self.generator, self.padding_idx)

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: Any = True, *arguments: Any, **options: Any) -> Self:
        """Return a layer of a table that exists.

        Parameters
        ----------
        embeddings : array (num_embeddings, embedding_dim) or path-like
            Used as it is and shared, not copied; or an .npy file, which is mapped, for reading where it is frozen and
            for writing where it is not. The row of `padding_idx` keeps its numbers.
        freeze : bool or bool (num_embeddings,), default True
            The table, or the rows where it is True, gets no gradient.
        *arguments, **options
            The constructor's, after the table's shape.

        Examples
        --------
        >>> from fastemb import Embedding
        >>> Embedding.from_pretrained(np.array([[1, 2.3, 3], [4, 5.1, 6.3]]))([1])
        array([[4. , 5.1, 6.3]])
        """
        given: Any = embeddings
        if isinstance(embeddings, str | os.PathLike):
            given = MappedMemory(embeddings, "r" if freeze is True else "r+")
        if is_foreign(given):
            given = wrap(given, "W")
            options.setdefault("device", "cuda")
        table = given.array if isinstance(given, Memory) else given if is_foreign(given) else host_of(given, "W")
        if table.ndim != 2:
            raise ValueError(f"embeddings must have 2 dimensions, got shape {table.shape}")
        return cls(*table.shape, *arguments, W=given, freeze=freeze, **options)

    @property
    def num_embeddings(self) -> int:
        """Rows of the table."""
        return len(self.table)

    @property
    def embedding_dim(self) -> int:
        """Columns of the table."""
        return self.table.shape[1]

    def resize(self, num_embeddings: int) -> None:
        """Give the table another number of rows.

        Rows that stay keep their numbers and what an optimizer knows of them; new ones are drawn as a fresh table's.
        Gradients and forwards of before are forgotten. An array that was given as `W` stays as it was, and so does an
        array that was taken from `weight`.

        Parameters
        ----------
        num_embeddings : int

        Examples
        --------
        >>> from fastemb import Embedding
        >>> layer = Embedding(2, 3, embeddings_initializer="ones")
        >>> layer.resize(4)
        >>> layer.weight.shape
        (4, 3)
        """
        size, old = integer("num_embeddings", num_embeddings, 0), self.table
        if self.padding_idx is not None and self.padding_idx >= size:
            raise ValueError(f"num_embeddings must leave the row padding_idx={self.padding_idx}, got {size}")
        kept = min(size, len(old))

        def fill(table: NDArray) -> None:
            table[:kept] = old[:kept]
            initializers.fill(table, self._initializer_of_new_rows(), self.generator, first=kept)

        with self._lock:
            self._memory = self._memory.resized(size, fill)
            if isinstance(self._frozen, np.ndarray):
                self.frozen = np.concatenate([self._frozen[:kept], np.zeros(size - kept, bool)])
            self.zero_grad()
        if self.lora is not None:
            self.lora.a.resize(size)

    def _initializer_of_new_rows(self) -> Any:
        given = self.embeddings_initializer
        return None if initializers.is_array(given) else given

    # Training and evaluation.

    @property
    def remembers(self) -> bool:
        """Whether a forward is remembered: in training, unless the table is frozen."""
        return self.training and self._frozen is not True

    def _undoes_though_frozen(self) -> bool:
        """Return whether the last forward has a gradient to return besides the table's."""
        return False

    def _remembered(self) -> Any:
        if self._frozen is True and not self._undoes_though_frozen():
            raise RuntimeError("the table is frozen, so it has no gradient: set frozen to False before the forward")
        call = super()._remembered()
        if call.num_embeddings != self.num_embeddings:
            self._tape.calls.clear()
            raise RuntimeError("the table was resized after the forward that backward was to undo")
        return call

    def forward(self, *arguments: Any) -> NDArray:
        """Look up."""
        raise NotImplementedError

    def backward(self, grad_output: Any) -> Any:
        """Undo the last forward that has not been undone."""
        raise NotImplementedError

    def _prepare(self, indices: NDArray) -> None:
        """Do what must be done to rows before they are read."""
        self.catch_up(indices)
        if self.max_norm is not None:
            with self._lock:
                operations.limit_norms(self.table, indices, self.max_norm, self.norm_type, device=self.device)

    def _given_back(self, found: NDArray) -> NDArray:
        return found if self._shown == found.dtype else found.view(self._shown)

    def _kept(self, grad: NDArray, given: Any) -> NDArray:
        """Return a gradient that may be summed later, when the user's array may have changed."""
        return grad if self.optimizer is not None else apart(grad, given)

    # Saving.

    def state_dict(self) -> dict[str, NDArray]:
        """Return the tables by name: "weight", and with LoRA "lora_embeddings_a" and "lora_embeddings_b".

        They are the layer's own, not copies; those in a GPU's memory are copied to the host's.
        """
        return {name: on_host(table) for name, table in self._tables().items()}

    def _tables(self) -> dict[str, Any]:
        self.flush()
        tables: dict[str, Any] = {"weight": self.weight}
        if self.lora is not None:
            tables |= {"lora_embeddings_a": self.lora.a.weight, "lora_embeddings_b": self.lora.b.weight}
        return tables

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Copy numbers into the tables.

        Parameters
        ----------
        state_dict : dict
            As `state_dict` returns it.
        strict : bool, default True
            Names that are missing or unknown are an error.

        Raises
        ------
        KeyError
            If names disagree, and `strict`.
        ValueError
            If a shape disagrees; nothing is copied then.
        """
        load_tables(self._tables(), state_dict, strict)

    def __repr__(self) -> str:
        """Return torch's representation."""
        told = {"padding_idx": None, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False, "mode": None}
        values = {name: getattr(self, name, default) for name, default in told.items()}
        shown = [f"{name}={value!r}" for name, value in values.items() if value != told[name]]
        return f"{type(self).__name__}({', '.join([str(self.num_embeddings), str(self.embedding_dim), *shown])})"
