"""What is known about a data set: where it comes from, what its labels are, and what loading it has dropped."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["METRICS", "DatasetEntry", "LoadReport"]

METRICS = ("f1_weighted", "f1_macro", "accuracy")
"""The metrics that an entry can name; all three are computed by `lane_hf.metrics`."""


@dataclass(frozen=True)
class DatasetEntry:
    """One data set of the registry.

    Attributes:
        name: as the user types it.
        description: one sentence.
        label_names: names in the order of the class ids.
        licence: as the source states it, or that it states none.
        citation: BibTeX.
        access: "package", "hub" (loaded without a folder), "files" (to be downloaded), or "request: from whom".
        geometry: how the labels lie to each other: "ordinal", "plutchik", "hierarchy" or "none".
        metric: one of `METRICS`: what the paper reports for this set, as far as known (see `assumptions`).
        split_sizes: rows of each split as the source publishes them, before any row is dropped.
        files: what `data_dir` must hold, in words.
        text_fields: the fields that make up the text.
        text_separator: what stands between them.
        reader: the module of `lane_hf.datasets` that reads the original files; its `FORMAT` names the format.
        hub_id: data set of the Hub, or None.
        hub_config: its configuration, or None.
        revision: pinned commit of the Hub, or None where no commit could be verified.
        hub_text_fields: columns that make up the text in the copy on the Hub.
        hub_label_field: column with the class id (or a list of class ids) there.
        escapes: what backslashes mean in the texts: "" themselves; "newline": a backslash and an n stand for a line
            break, a backslash and a quote for a quote; "backslash": a backslash stands for a line break.
        language: of the texts, as an ISO 639-1 code.
        source_url: where the original files come from.
        assumptions: what could not be verified, or differs from the source.

    Example:
        >>> from lane_hf.datasets import entry
        >>> entry("sst5").label_names[0]
        'very negative'
    """

    name: str
    description: str
    label_names: tuple[str, ...]
    licence: str
    citation: str
    access: str
    geometry: str
    metric: str
    split_sizes: Mapping[str, int]
    files: str
    text_fields: tuple[str, ...]
    reader: str
    text_separator: str = " "
    hub_id: str | None = None
    hub_config: str | None = None
    revision: str | None = None
    hub_text_fields: tuple[str, ...] = ("text",)
    hub_label_field: str = "label"
    escapes: str = ""
    language: str = "en"
    source_url: str = ""
    assumptions: tuple[str, ...] = ()

    @property
    def noise_geometry(self) -> str:
        """The geometry as `lane_hf.label_space.distances_for` knows it: a hierarchy has no distances there."""
        return "none" if self.geometry == "hierarchy" else self.geometry


@dataclass(frozen=True)
class LoadReport:
    """What loading a data set has read, kept and dropped.

    Attributes:
        name: the data set.
        source: folder, or Hub id and revision.
        format: which of the formats was recognised.
        rows_read: by split of the source.
        rows_kept: by split of the result.
        dropped: by split of the source: reason and number of rows.
        notes: what else happened, such as a split made by this package or another encoding.

    Example:
        >>> LoadReport("isear", "data", "ISEAR", {"all": 3}, {"train": 2}, {"all": {"no answer": 1}}).total_dropped
        1
    """

    name: str
    source: str
    format: str
    rows_read: Mapping[str, int]
    rows_kept: Mapping[str, int]
    dropped: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...] = field(default=())

    @property
    def total_dropped(self) -> int:
        """The number of rows dropped, over all splits and reasons."""
        return sum(sum(reasons.values()) for reasons in self.dropped.values())

    def to_text(self) -> str:
        """The report in a few lines.

        Example:
            >>> print(LoadReport("sst5", "data", "trees", {"train": 2}, {"train": 2}, {}).to_text())
            sst5 from data (trees)
              read: train 2
              kept: train 2
        """
        lines = [f"{self.name} from {self.source} ({self.format})"]
        lines.append(f"  read: {_counts(self.rows_read)}")
        lines.append(f"  kept: {_counts(self.rows_kept)}")
        for split, reasons in self.dropped.items():
            lines += [f"  dropped from {split}: {count:,} ({reason})" for reason, count in reasons.items()]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
