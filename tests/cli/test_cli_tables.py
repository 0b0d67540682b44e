"""The `lane` command: data sets, noise, augmentation; every error one line and exit status 2."""

import errno
import json
import os
from pathlib import Path

import pandas as pd
import pytest

from lane_hf import InputError
from lane_hf.cli import main
from lane_hf.datasets import names
from lane_hf.table_writer import write_table

NO_MODEL = ["--model_template", "nowhere/{source}-{target}"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    texts = ["they bought a big house", "the quick answer was wrong", "", "nothing"] * 25
    frame = pd.DataFrame(
        {"text": [text or "a small car" for text in texts], "label": ["joy", "fear", "trust", "anger"] * 25}
    )
    path = tmp_path / "rows.csv"
    frame.to_csv(path, index=False)
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    return captured.err


def test_datasets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", *names()]
    assert main(["datasets", "--json"]) == 0
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)] == names()


def test_a_data_set_is_described_and_summarised(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["datasets", "goemotions"]) == 0
    assert "admiration" in capsys.readouterr().out
    for split, text in (("train", "so happy"), ("validation", "so happy"), ("test", "how sad")):
        label = "joy" if "happy" in text else "sadness"
        pd.DataFrame({"text": [text], "label": [label]}).to_csv(tmp_path / f"{split}.csv", index=False)
    assert main(["datasets", "goemotions", "--data_dir", str(tmp_path)]) == 0
    assert "Texts in two splits: train/validation: 1" in capsys.readouterr().out
    assert main(["datasets", "goemotions", "--data_dir", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["splits"]["test"]["rows"] == 1


def test_noise_spoils_exactly_the_share_and_says_which(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "noisy.parquet"
    arguments = ["noise", str(table), "--output", str(output), "--label_column", "label", "--rate", "0.2"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("20 of 100 labels are now wrong")
    noisy = pd.read_parquet(output)
    assert (noisy["label"] != noisy["original_label"]).tolist() == noisy["is_flipped"].tolist()
    assert noisy["original_label"].tolist() == pd.read_csv(table)["label"].tolist()
    again = tmp_path / "again.csv"
    assert main([*arguments[:3], str(again), *arguments[4:]]) == 0
    assert pd.read_csv(again)["label"].tolist() == noisy["label"].tolist()


def test_the_next_label_is_the_next_number_as_in_training(tmp_path: Path) -> None:
    numbers = [row % 12 for row in range(48)]
    pd.DataFrame({"text": "x", "label": numbers}).to_csv(tmp_path / "rows.csv", index=False)
    command = ["noise", str(tmp_path / "rows.csv"), "--output", str(tmp_path / "out.csv"), "--label_column", "label"]
    assert main([*command, "--rate", "1", "--kind", "pair"]) == 0
    assert pd.read_csv(tmp_path / "out.csv")["label"].tolist() == [(number + 1) % 12 for number in numbers]


def test_one_number_in_two_spellings_is_one_label(tmp_path: Path) -> None:
    cells = ["1", "1.0", "2"] * 20
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"x,{cell}\n" for cell in cells))
    command = ["noise", str(tmp_path / "rows.csv"), "--output", str(tmp_path / "out.csv"), "--label_column", "label"]
    assert main([*command, "--rate", "0.5"]) == 0
    noisy = pd.read_csv(tmp_path / "out.csv", dtype=str)
    differs = [float(a) != float(b) for a, b in zip(noisy["label"], noisy["original_label"], strict=True)]
    assert differs == (noisy["is_flipped"] == "True").tolist()
    assert sum(differs) == 30
    kept = noisy[noisy["is_flipped"] == "False"]
    assert kept["label"].tolist() == kept["original_label"].tolist()


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([["a"], ["a", "b"]] * 9, "column 'label' holds list (row 0): multi-label and token classification are not"),
        ([0.5, 0.7] * 9, "holds numbers with fractions, such as 0.5: regression is not supported"),
        (["a"] * 18, "all rows have the label 'a' in column 'label': at least 2 are needed"),
    ],
)
def test_what_training_would_not_take_for_labels_is_not_spoiled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cells: list, message: str
) -> None:
    rows, output = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows.write_text("".join(json.dumps({"text": "x", "label": cell}) + "\n" for cell in cells))
    said = refused(capsys, "noise", rows, "--output", output, "--label_column", "label", "--rate", "0.5")
    assert f"{rows}: " in said
    assert message in said
    assert not output.exists()


def test_semantic_noise_takes_a_geometry(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["noise", table, "--output", tmp_path / "out.csv", "--label_column", "label", "--rate", 0.4]
    said = refused(capsys, *common, "--kind", "semantic")
    assert "--kind semantic needs distances of the labels: give --geometry ordinal (with --label_order) or" in said
    for options in (["--geometry", "ordinal"], ["--label_order", "a", "b"], ["--gamma", "2"]):
        assert f"{options[0]} belongs to --kind semantic" in refused(capsys, *common, *options)
    options = ["--kind", "semantic", "--geometry", "plutchik", "--label_order", "a"]
    assert "--label_order belongs to --geometry ordinal" in refused(capsys, *common, *options)
    wheel = [str(part) for part in [*common, "--kind", "semantic", "--geometry", "plutchik", "--gamma", 100]]
    assert main(wheel) == 0
    noisy = pd.read_csv(tmp_path / "out.csv")
    flipped = noisy[noisy["is_flipped"]]
    # Of these labels trust is the nearest one on the wheel, both to joy and to fear.
    assert set(flipped[flipped["original_label"] == "joy"]["label"]) == {"trust"}
    assert set(flipped[flipped["original_label"] == "fear"]["label"]) == {"trust"}


def test_semantic_noise_takes_the_order_of_ranks(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["noise", table, "--output", tmp_path / "out.csv", "--label_column", "label", "--rate", 0.4]
    common += ["--kind", "semantic", "--geometry", "ordinal", "--gamma", 100]
    assert "label_order" in refused(capsys, *common)
    assert main([*map(str, common), "--label_order", "joy", "trust", "fear", "anger"]) == 0
    noisy = pd.read_csv(tmp_path / "out.csv")
    flipped = noisy[noisy["is_flipped"]]
    assert set(flipped[flipped["original_label"] == "joy"]["label"]) == {"trust"}
    assert set(flipped[flipped["original_label"] == "anger"]["label"]) == {"fear"}


def test_synonym_columns_are_added(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "more.jsonl"
    arguments = [
        "augment",
        str(table),
        "--output",
        str(output),
        "--text_column",
        "text",
        "--num_views",
        "2",
        "--rate",
        "1.0",
    ]
    assert main(arguments) == 0
    assert "text_view_1, text_view_2" in capsys.readouterr().out
    more = pd.read_json(output, lines=True)
    assert more["text"].tolist() == pd.read_csv(table)["text"].tolist()
    assert (more["text_view_1"] != more["text"]).any()
    assert (more["text_view_1"] != more["text_view_2"]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["nonsense"], "invalid choice"),
        (["datasets", "nonsense"], "no entry here"),
        (["datasets", "goemotions", "--data_dir", "nowhere"], "no such folder"),
        (["noise", "gone.csv", "--output", "o.csv", "--label_column", "label", "--rate", "0.1"], "no such file"),
        (["noise", "TABLE", "--output", "o.txt", "--label_column", "label", "--rate", "0.1"], "unknown kind of file"),
        (
            ["noise", "TABLE", "--output", "TABLE", "--label_column", "label", "--rate", "0.1"],
            "nothing is overwritten",
        ),
        (["noise", "TABLE", "--output", "o.csv", "--label_column", "nope", "--rate", "0.1"], "no column 'nope'"),
        (["noise", "TABLE", "--output", "o.csv", "--label_column", "label", "--rate", "7"], "rate"),
        (
            ["noise", "MANY", "--output", "o.csv", "--label_column", "text", "--rate", "0.1"],
            "column 'text' has 60 different values in 60 rows: these are no class labels",
        ),
        (
            ["noise", "TABLE", "--output", "no/o.csv", "--label_column", "label", "--rate", "0.1"],
            "there is no folder no",
        ),
        (["augment", "TABLE", "--output", "o.csv", "--text_column", "text", "--num_views", "0"], "num_views"),
        (["augment", "TABLE", "--output", "o.csv", "--text_column", "text", "--rate", "0"], "rate"),
        (["augment", "TABLE", "--output", "o.csv", "--text_column", "text", "--pivots", "de", "de"], "occurs twice"),
        (["augment", "NUMBERS", "--output", "o.csv", "--text_column", "text"], "else than texts (first: row 1)"),
        (["augment", "NUMBERS", "--output", "o.csv", "--text_column", "label"], "is empty in 1 row (first: row 0)"),
        (["augment", "LONG", "--output", "o.csv", "--text_column", "text"], f"the columns are '{'x' * 37}...', 'b'\n"),
        (
            ["augment", "TABLE", "--output", "o.csv", "--text_column", "text", "--kind", "backtranslation", *NO_MODEL],
            "nowhere",
        ),
        (["train", "--nonsense", "1"], "unknown argument"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_errors_are_one_line(
    arguments: list[str],
    message: str,
    table: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(table.parent)
    (table.parent / "numbers.json").write_text('[{"text": "a", "label": null}, {"text": 1, "label": "b"}]')
    (table.parent / "long.csv").write_text(f"{'x' * 1000},b\n1,2\n")
    (table.parent / "many.csv").write_text("text\n" + "".join(f"text {row}\n" for row in range(60)))
    files = {"TABLE": str(table), "NUMBERS": "numbers.json", "LONG": "long.csv", "MANY": "many.csv"}
    assert message in refused(capsys, *(files.get(part, part) for part in arguments))
    assert not (table.parent / "o.csv").exists()


def test_columns_that_exist_are_not_overwritten(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["augment", table, "--output", tmp_path / "one.csv", "--text_column", "text"]
    assert main([str(part) for part in arguments]) == 0
    capsys.readouterr()
    arguments[1], arguments[3] = tmp_path / "one.csv", tmp_path / "two.csv"
    assert "there is a column 'text_view_1' already" in refused(capsys, *arguments)


@pytest.mark.parametrize(
    "arguments", [["noise", "--label_column", "label", "--rate", "0.1"], ["augment", "--text_column", "text"]]
)
def test_a_file_that_is_there_is_not_replaced(
    arguments: list[str], table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.csv").write_text("mine")
    command, *options = arguments
    assert "exists already" in refused(capsys, command, table, "--output", tmp_path / "mine.csv", *options)
    assert (tmp_path / "mine.csv").read_text() == "mine"


def test_a_full_disk_is_no_mistake_of_the_users(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(self: pd.DataFrame, path: Path, **options: object) -> None:
        path.write_text("half of")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pd.DataFrame, "to_csv", fill)
    output = tmp_path / "out.csv"
    assert main(["noise", str(table), "--output", str(output), "--label_column", "label", "--rate", "0.1"]) == 1
    assert capsys.readouterr().err == f"error: {output}: cannot be written ([Errno 28] No space left on device)\n"
    assert [path.name for path in tmp_path.glob("out*")] == []


def test_a_column_that_the_format_cannot_hold_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written in this format"):
        write_table(pd.DataFrame({"label": ["a", 1]}), tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.glob("out*")] == []


def test_json_says_what_was_written(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "o.csv")
    assert main(["noise", str(table), "--output", output, "--label_column", "label", "--rate", "0.2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"output": output, "number_of_rows": 100, "number_of_flips": 20}
    other = str(tmp_path / "p.csv")
    assert main(["augment", str(table), "--output", other, "--text_column", "text", "--json"]) == 0
    facts = {"output": other, "number_of_rows": 100, "new_columns": ["text_view_1"]}
    assert json.loads(capsys.readouterr().out) == facts
