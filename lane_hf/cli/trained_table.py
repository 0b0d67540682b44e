"""The very table that a run was trained on: its train_file, one that is named, or the rows made again."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError
from .settings import group_of, text_of

if TYPE_CHECKING:
    import pandas as pd

    from ..report.fix import Fixed
    from ..report.run_record import RunRecord

_ROW_ID = "row_id"


class TrainedTable(NamedTuple):
    """What was trained on.

    Attributes:
        rows: the table, in the order of training.
        label_column: its column of labels.
        hidden: a name for a column `row_id` of the user's, None if there is none: `lane train` numbers the rows, so
            that this column names others than the label table does.
        text_column: its column of texts; None if that is not known.
    """

    rows: "pd.DataFrame"
    label_column: str
    hidden: str | None = None
    text_column: str | None = None

    def shown(self, fixed: "Fixed") -> "Fixed":
        """Return a fixed table with the user's own names of the columns."""
        return fixed if self.hidden is None else fixed._replace(data=fixed.data.rename(columns={self.hidden: _ROW_ID}))


def trained_table(record: "RunRecord", path: str | None = None, label_column: str | None = None) -> TrainedTable:
    """Return the table that a run was trained on.

    Args:
        record: the run.
        path: the table; None takes the run's `train_file`. If the run took a part of it, spoiled labels, or had a data
            set with a name, the rows are made again from what `run_config.json` says.
        label_column: None takes the run's, else guesses.

    Raises:
        InputError: the run does not say what it was trained on, or that is not there any more.
    """
    from ..datasets.columns import label_column_of, text_column_of
    from ..datasets.tables import read_table

    data = group_of(record.settings, "DataArguments")
    as_it_was = not data.get("max_train_samples") and not data.get("label_noise")
    path = path or (text_of(data, "train_file") if as_it_was else None)
    if path is None:
        if not data:
            raise InputError("the run does not say what it was trained on: give --table")
        return TrainedTable(_rebuilt(record.settings), label_column or "label", text_column="text")
    if not Path(path).exists():
        raise InputError(f"{path}: no such file. If the table that was trained on is elsewhere, name it with --table")
    table = read_table(path)
    column = label_column or text_of(data, "label_column") or label_column_of(table)
    texts = None
    if text_of(data, "train_file"):  # of a data set with a name, the table that is given may have other columns
        texts = text_of(data, "text_column") or text_column_of(table, column, _views(data))
    if not data or _ROW_ID not in table.columns:
        return TrainedTable(table, column, text_column=texts)
    hidden = "_" + max(map(str, table.columns), key=len)  # longer than any, so it is free
    table = table.rename(columns={_ROW_ID: hidden})
    return TrainedTable(table, hidden if column == _ROW_ID else column, hidden, hidden if texts == _ROW_ID else texts)


def _views(data: dict[str, Any]) -> list[str]:
    views = data.get("view_columns") or []
    if not isinstance(views, list):
        raise InputError("run_config.json: view_columns is no list. Restore the file as the run has written it")
    return views


def _rebuilt(settings: dict[str, Any]) -> "pd.DataFrame":
    """Return the rows that were trained on: a part of a data set, with the labels that were spoiled."""
    from dataclasses import fields

    from ..noise import ORIGINAL_COLUMN
    from ..run_arguments import DataArguments
    from ..run_data import prepare_data

    known = {each.name for each in fields(DataArguments)}
    values = {name: value for name, value in group_of(settings, "DataArguments").items() if name in known}
    config: Any = argparse.Namespace(seed=group_of(settings, "RunConfig").get("seed", 42), steps_chosen=set())
    try:
        rows = prepare_data(DataArguments(**values), config)["train"]  # it asks for the seed and the steps only
    except InputError as error:
        raise InputError(f"the rows that were trained on cannot be made again: {error}") from error
    except (TypeError, AttributeError) as error:  # such as a number where a text belongs
        message = "run_config.json has a value of a wrong kind. Restore the file as the run has written it"
        raise InputError(message) from error
    table: pd.DataFrame = rows.to_pandas()
    names = rows.features["label"].names
    coded = [column for column in ("label", ORIGINAL_COLUMN) if column in table]
    return table.assign(**{column: [names[code] for code in table[column]] for column in coded})
