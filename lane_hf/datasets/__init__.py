"""Data sets by name, and data sets from a user's own files, all as `DatasetDict(text, label)`."""

from .registry import load, names

__all__ = ["load", "names"]
