"""Optimizers that touch only the rows of a table that were looked up.

Given to a layer (``optimizer=``), an optimizer is applied inside ``backward``, row by row, while a row's gradient is
still in the cache. Given the layers, ``step()`` applies the gradients that ``backward`` left there. Both give the same
numbers.
"""

from fastemb.optim.adagrad import Adagrad, RowwiseAdagrad
from fastemb.optim.adam import Adam, AdamW
from fastemb.optim.ftrl import FTRL
from fastemb.optim.optimizer import Optimizer
from fastemb.optim.sgd import SGD

__all__ = ["FTRL", "SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RowwiseAdagrad"]
