"""Word vectors on disk: `read` and `write` any of the formats."""

from fastemb.formats.registry import FORMATS, SUFFIXES, detect, read, write
from fastemb.formats.table import Table

__all__ = ["FORMATS", "SUFFIXES", "Table", "detect", "read", "write"]
