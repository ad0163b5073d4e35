"""Word vectors on disk: `read` and `write` any of the formats."""

from fastemb.formats.registry import FORMATS, SUFFIXES, detect, read, write
from fastemb.formats.table import Table
from fastemb.formats.words import Words

__all__ = ["FORMATS", "SUFFIXES", "Table", "Words", "detect", "read", "write"]
