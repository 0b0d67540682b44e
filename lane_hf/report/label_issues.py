"""LabelIssues: the table that says which labels look wrong, and what to do about it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..errors import InputError
from . import estimates
from .estimates import NoiseRate
from .table import COLUMNS, TEXT_COLUMN

if TYPE_CHECKING:
    from datasets import Dataset

    from .fix import Fixed


class LabelIssues(pd.DataFrame):
    """One line per training row, the most suspicious first: a `pandas.DataFrame` that knows what it is about.

    Columns:

    - `row_id`: the row of the training set, or the user's own id;
    - `given_label`, `suggested_label`, `suggestion_confidence` (probability that the suggestion is right);
    - `noise_probability`: that the given label is wrong (see `lane_hf.noise_probability`); `is_issue`: whether that
      is likely, or the method's own verdict;
    - `runner_up_label`, `runner_up_share`: the best other label, and at how many of the visits it was that (at least);
    - `score` (the method ranks by it; LANE's is the logarithm of how many times more probability the label got, on
      average, than the noise alone would give it), `alm` (average label-aware margin) and `aum` (average margin), both
      in logits;
    - `confidence`, `variability`, `correctness`: mean and standard deviation of the given label's probability, and
      share of the visits at which it was predicted (a data map's coordinates);
    - `weight` in the cross-entropy, `visits` in training;
    - `text` (an excerpt) where the training set has texts, `is_flipped` where labels were spoiled on purpose.

    Selecting rows or columns gives a plain `DataFrame`.

    Args:
        data: a table with these columns.
        label_names: all labels; None takes those that occur.
        dataset: what was trained on, for [`fix`].

    Raises:
        InputError: a column is missing.

    Source of the data map: Swayamdipta et al., "Dataset Cartography", EMNLP 2020.

    Example:
        >>> issues = trainer.label_issues()  # doctest: +SKIP
        >>> issues.noise_rate()  # doctest: +SKIP
        NoiseRate(estimate=0.197, low=0.19, high=0.205)
        >>> fixed = issues.fix(min_confidence=0.9)  # doctest: +SKIP
    """

    _metadata = ["label_names", "dataset"]  # noqa: RUF012 -- pandas wants a list
    label_names: list[str] | None = None
    dataset: Any = None

    def __init__(
        self, data: pd.DataFrame, label_names: Sequence[str] | None = None, dataset: "Dataset | None" = None
    ) -> None:
        super().__init__(data)
        missing = [column for column in COLUMNS if column not in data.columns]
        if missing:
            raise InputError(f"this is no table of label issues: it has no column {missing[0]!r}")
        self.label_names = None if label_names is None else list(label_names)
        self.dataset = dataset

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    # ---- What it says of the data set ----

    def noise_rate(self) -> NoiseRate:
        """Return the estimated share of wrong labels with its 95% interval; see [`estimates.noise_rate`]."""
        return estimates.noise_rate(self)

    def expected_precision(self, number: int | None = None) -> float:
        """Return the share of wrong labels to expect among the `number` most suspicious rows, or among the issues."""
        return estimates.expected_precision(self, number)

    def per_label(self) -> pd.DataFrame:
        """Return a line per given label: rows, issues, noise rate, and a note if it is too rare to be judged."""
        return estimates.per_label(self, self.label_names)

    def noise_matrix(self) -> pd.DataFrame:
        """Return which labels stand for which: `[K, K]`, given by suggested, each row summing to 1."""
        return estimates.noise_matrix(self, self.label_names)

    def label_similarity(self) -> pd.DataFrame:
        """Return how close the classifier found labels to each other: `[K, K]`, symmetric, in [0, 1]."""
        return estimates.label_similarity(self, self.label_names)

    # ---- What to do about it ----

    def fix(
        self,
        *,
        min_confidence: float = 0.9,
        action: str = "relabel",
        output: str | Path | None = None,
        verbose: bool = True,
    ) -> "Fixed":
        """Return the training set with wrong labels replaced or their rows dropped; nothing is overwritten.

        See [`lane_hf.report.fix.fix_dataset`].

        Args:
            min_confidence: only rows whose suggestion (`relabel`) or whose wrongness (`drop`) is at least as probable.
            action: 'relabel', 'drop', or 'review': change nothing, and write the issues into a queue for people.
            output: file of the queue, for 'review'.
            verbose: print what precision to expect before anything is done, or where the queue is.
        """
        from .fix import fix_dataset

        if self.dataset is None:
            raise InputError(
                "this table does not know its data set: use lane_hf.report.fix.fix_dataset(dataset, issues)"
            )
        return fix_dataset(
            self.dataset, self, min_confidence=min_confidence, action=action, output=output, verbose=verbose
        )

    # ---- Where it goes ----

    def to_dataset(self, include_text: bool = False) -> "Dataset":
        """Return the table as a `datasets.Dataset`; without the texts unless asked."""
        from datasets import Dataset

        table = self if include_text else self.drop(columns=TEXT_COLUMN, errors="ignore")
        return Dataset.from_pandas(pd.DataFrame(table), preserve_index=False)

    def push_to_hub(self, repo_id: str, include_text: bool = False, **kwargs: Any) -> Any:
        """Publish the table as a data set on the Hub: ids and scores, texts only if asked.

        Args:
            repo_id: such as "user/my-label-issues".
            include_text: publish the excerpts of the texts too.
            **kwargs: further arguments of `datasets.Dataset.push_to_hub`; `private` is True unless given.
        """
        return self.to_dataset(include_text).push_to_hub(repo_id, **{"private": True, **kwargs})

    def write(self, path: str | Path) -> None:
        """Write the table, with texts, as csv, tsv, json, jsonl or parquet, as the suffix says.

        Raises:
            InputError: the suffix is unknown, or the format cannot hold what is in the table.
            OutputError: the file cannot be written.
        """
        from ..table_writer import write_table

        write_table(self, path)
