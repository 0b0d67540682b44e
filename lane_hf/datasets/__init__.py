"""Data sets by name, and data sets from a user's own files, all as `DatasetDict(text, label)`."""

from .entry import DatasetEntry, LoadReport
from .registry import entry, load, load_with_report, names

__all__ = ["DatasetEntry", "LoadReport", "entry", "load", "load_with_report", "names"]
