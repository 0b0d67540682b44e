"""From tables to splits: which column is which, what the labels are called, and what is refused."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Value
from hypothesis import given
from hypothesis import strategies as st

from lane_hf import InputError
from lane_hf.datasets.columns import in_order, to_text_and_label
from lane_hf.report.fix import BEFORE_COLUMN


def table(**columns: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})


def refusal(*args: Any, **tables: pd.DataFrame) -> str:
    """Return the message that tables are refused with."""
    with pytest.raises(InputError) as caught:
        to_text_and_label(tables, *args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


TRAIN = table(text=["one", "two", "three"], label=["no", "yes", "no"])


# What is understood


def test_splits_have_text_and_class_labels_of_the_training_table() -> None:
    splits = to_text_and_label({"train": TRAIN, "validation": TRAIN[1:], "test": TRAIN[:1]})
    for rows in splits.values():
        assert rows.features == {"text": Value("string"), "label": ClassLabel(names=["no", "yes"])}
    assert splits["train"].to_dict() == {"text": ["one", "two", "three"], "label": [0, 1, 0]}
    assert splits["validation"].to_dict() == {"text": ["two", "three"], "label": [1, 0]}
    assert splits["test"].to_dict() == {"text": ["one"], "label": [0]}


def test_other_columns_and_the_order_of_columns_play_no_part() -> None:
    train = table(id=[1, 2], label=["no", "yes"], score=[0.5, None], text=["one", "two"])
    assert to_text_and_label({"train": train})["train"].to_dict() == {"text": ["one", "two"], "label": [0, 1]}


@pytest.mark.parametrize(
    ("text", "label"), [("Sentence", "Target"), ("review", "sentiment"), ("tweet", "emotion"), ("phrase", "intent")]
)
def test_usual_names_are_guessed_and_so_is_the_only_column_of_text(text: str, label: str) -> None:
    train = table(**{label: ["no", "yes"], text: ["one", "two"], "id": [1, 2]})
    assert to_text_and_label({"train": train})["train"].to_dict() == {"text": ["one", "two"], "label": [0, 1]}


def test_columns_that_this_package_adds_are_not_guessed() -> None:
    added = {"original_label": ["a", "b"], "is_flipped": [True, False], BEFORE_COLUMN: ["b", "b"]}
    table = pd.DataFrame({"headline": ["x", "y"], "label": ["a", "b"], **added})
    assert to_text_and_label({"train": table})["train"]["text"][:] == ["x", "y"]


def test_given_columns_win_over_guesses() -> None:
    train = table(text=["a", "b"], label=["no", "yes"], body=["one", "two"], mood=["sad", "glad"])
    splits = to_text_and_label({"train": train}, "body", "mood")
    assert splits["train"]["text"][:] == ["one", "two"]
    assert splits["train"].features["label"].names == ["glad", "sad"]
    # A text column that looks like labels is out of question for the labels, and the other way round.
    train = table(label=["one", "two"], target=["no", "yes"])
    assert to_text_and_label({"train": train}, "label")["train"]["text"][:] == ["one", "two"]


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        ([2, 0, 10], ["0", "2", "10"]),
        (["2", "0", "10"], ["0", "2", "10"]),
        ([2.0, 0.0, 10.0], ["0", "2", "10"]),
        (["2.0", "0.0", "10.0"], ["0", "2", "10"]),
        (["-1", "1", "0"], ["-1", "0", "1"]),
        (["2", "b", "10"], ["10", "2", "b"]),
        ([True, False, True], ["False", "True"]),
        (["NA", "null", "nan"], ["NA", "nan", "null"]),
        (["1", "01", "001"], ["001", "01", "1"]),
        (["v1.5", "v2.5", "v1.5"], ["v1.5", "v2.5"]),
        (["0.5", "1.5", "many"], ["0.5", "1.5", "many"]),
        (["グループ", "ärger", "Zorn"], ["Zorn", "ärger", "グループ"]),
    ],
)
def test_label_names_are_texts_in_numerical_or_alphabetical_order(cells: list[Any], names: list[str]) -> None:
    rows = to_text_and_label({"train": table(text=["a", "b", "c"], label=cells)})["train"]
    assert rows.features["label"].names == names
    written = [str(int(float(cell))) if names in (["0", "2", "10"], ["-1", "0", "1"]) else str(cell) for cell in cells]
    assert [names[label] for label in rows["label"]] == written


def test_the_same_number_is_the_same_label_however_a_file_writes_it() -> None:
    splits = to_text_and_label(
        {
            "train": table(text=["a", "b"], label=["0", "1"]),
            "validation": table(text=["a", "b"], label=[1.0, 0]),
            "test": table(text=["a", "b"], label=["1.0", "0.0"]),
        }
    )
    assert splits["validation"]["label"][:] == splits["test"]["label"][:] == [1, 0]


def test_a_test_table_may_lack_labels() -> None:
    splits = to_text_and_label({"train": TRAIN, "test": table(text=["one"], other=[1])})
    assert splits["test"].features == {"text": Value("string")}
    assert splits["test"]["text"][:] == ["one"]


def test_numpy_and_pandas_columns_are_read_like_lists() -> None:
    train = pd.DataFrame({"text": ["a", "b"], "label": np.asarray([1, 0])})
    assert to_text_and_label({"train": train})["train"]["label"][:] == [1, 0]
    train["label"] = pd.Series(["x", "y"], dtype="category")
    assert to_text_and_label({"train": train})["train"]["label"][:] == [0, 1]


@given(st.lists(st.integers(0, 30), min_size=2, max_size=40).filter(lambda labels: len(set(labels)) > 1))
def test_labels_are_indices_into_the_names(labels: list[int]) -> None:
    rows = to_text_and_label({"train": table(text=["t"] * len(labels), label=labels)})["train"]
    names = rows.features["label"].names
    assert [int(names[label]) for label in rows["label"]] == labels
    assert names == [str(label) for label in sorted(set(labels))]


def test_numbers_are_what_people_write_as_numbers() -> None:
    assert in_order({"10", "9", "-3"}) == ["-3", "9", "10"]
    assert in_order({"10", "9", "1_1"}) == ["10", "1_1", "9"]  # int() knows underscores


def test_many_classes_with_several_rows_each_are_classes() -> None:
    rows = to_text_and_label({"train": table(text=["t"] * 200, label=[f"class {row % 100}" for row in range(200)])})
    assert rows["train"].features["label"].num_classes == 100


# What is refused


def test_unknown_and_missing_columns_are_listed() -> None:
    assert refusal("body", train=TRAIN) == (
        "there is no column 'body' in the training data: the columns are 'text', 'label'"
    )
    assert "there is no column 'mood'" in refusal(None, "mood", train=TRAIN)
    message = refusal(train=TRAIN, validation=table(text=["one"], mood=["no"]))
    assert message == "the validation data has no column 'label': its columns are 'text', 'mood'"
    message = refusal(train=TRAIN, test=table(body=["one"]))
    assert message == "the test data has no column 'text': its columns are 'body'"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["text", "sentence", "label"], "cannot tell which column holds the texts: .*Say which with --text_column"),
        (["a", "b", "label"], "cannot tell which column holds the texts"),
        (["text", "label", "target"], "cannot tell which column holds the labels: .*Say which with --label_column"),
        (["text", "mood"], "no column looks like the labels: the columns are 'text', 'mood'"),
    ],
)
def test_ambiguous_columns_are_not_guessed(columns: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_text_and_label({"train": table(**{name: ["x", "y"] for name in columns})})


def test_a_table_of_numbers_has_no_texts() -> None:
    assert "no column looks like the texts" in refusal(train=table(a=[1, 2], label=["x", "y"]))


def test_texts_and_labels_are_different_columns() -> None:
    assert "cannot both be in column 'text'" in refusal("text", "text", train=TRAIN)


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_missing_cells_are_named_by_row(nothing: Any) -> None:
    message = refusal(train=table(text=["a", nothing, "c"], label=["x", "y", "x"]))
    assert message == "train data: 1 row (row 1) has no text in column 'text': fill or remove them"
    message = refusal(train=TRAIN, validation=table(text=["a"] * 9, label=["no"] + [nothing] * 8))
    assert message.startswith("validation data: 8 rows (row 1, 2, 3, 4, 5, ...) have no label in column 'label'")
    assert "have no text" in refusal(train=TRAIN, test=table(text=[nothing, nothing], label=["no", "no"]))


def test_an_empty_text_is_no_name_of_a_label() -> None:
    assert "1 row (row 1) has no label" in refusal(train=table(text=["a", "b", "c"], label=["x", "", "y"]))


@pytest.mark.parametrize(("cell", "kind"), [(5, "int"), (0.5, "float"), (True, "bool"), (["a"], "list"), ({}, "dict")])
def test_only_text_is_text(cell: Any, kind: str) -> None:
    message = refusal("text", train=table(text=["a", cell], label=["x", "y"]))
    assert message == f"train data: column 'text' holds {kind} where text is expected (row 1)"


@pytest.mark.parametrize(("cell", "kind"), [(["x"], "list"), ({"x": 1}, "dict"), (np.asarray([1, 0]), "ndarray")])
def test_a_label_is_one_name_or_number(cell: Any, kind: str) -> None:
    message = refusal(train=table(text=["a", "b"], label=["x", cell]))
    assert f"column 'label' holds {kind} (row 1): multi-label and token classification are not supported" in message


def test_half_an_emoji_is_refused_before_anything_is_trained() -> None:
    assert "train data: 1 row (row 1) has half a character in column 'text'" in refusal(
        train=table(text=["a", "\ud83d"], label=["x", "y"])
    )
    assert "half a character in column 'label'" in refusal(train=table(text=["a", "b"], label=["x", "\ud83d"]))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_labels_that_training_lacks_are_named(split: str) -> None:
    message = refusal(train=TRAIN, **{split: table(text=["a", "b"], label=["no", "maybe"])})
    assert message == f"{split} data: label 'maybe' (row 1) does not occur in the training data, which has 'no', 'yes'"
    many = table(text=["a"] * 7, label=list("abcdefg"))
    assert refusal(train=many, **{split: TRAIN}).endswith("which has 'a', 'b', 'c', 'd', 'e', ...")


def test_spaces_that_make_the_difference_are_shown() -> None:
    train = table(text=["a", "b"], label=["joy ", "fear"])
    message = refusal(train=train, validation=table(text=["a"], label=["joy"]))
    assert message.endswith("label 'joy' (row 0) does not occur in the training data, which has 'fear', 'joy '")
    message = refusal(None, "label", train=train.rename(columns={"label": "label\t"}))
    assert message.endswith(r"there is no column 'label' in the training data: the columns are 'text', 'label\t'")


def test_one_class_is_not_enough() -> None:
    assert "train data: all rows have the label 'x' in column 'label'" in refusal(
        train=table(text=["a", "b"], label=["x", "x"])
    )


@pytest.mark.parametrize(
    "cells", [[0.5, 1.5, 0.5], ["0.137", "2", "-.5"], [1.0, 2.0, 2.5], ["1e-3", "2e-3", "2e-3"], ["1", "2", "2.25"]]
)
def test_numbers_with_fractions_are_regression(cells: list[Any]) -> None:
    message = refusal(train=table(text=["a", "b", "c"], label=cells))
    assert "holds numbers with fractions, such as " in message
    assert "regression is not supported" in message


def test_a_column_that_never_repeats_holds_no_classes() -> None:
    message = refusal(train=table(text=["t"] * 60, label=[f"note {row}" for row in range(60)]))
    assert message.startswith("column 'label' has 60 different values in 60 rows: these are no class labels")
