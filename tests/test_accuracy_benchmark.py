"""The accuracy benchmark: what its noises and methods are."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from lane_hf import InputError, LaneTrainer, RowTrainer
from lane_hf.baselines import AumTrainer, CartographyTrainer

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import accuracy as benchmark

SORTED = ["negative", "neutral", "positive", "very negative", "very positive"]  # as csv files are read


def test_ordinal_labels_have_the_ranks_of_the_data_set_not_those_of_the_alphabet() -> None:
    distances = benchmark.distances_of("sst5", "ordinal", SORTED)
    ranks = np.array([1, 2, 3, 0, 4])
    np.testing.assert_array_equal(distances, abs(ranks[:, None] - ranks[None, :]))


def test_ordinal_labels_of_an_unknown_data_set_are_refused() -> None:
    for dataset in ("nobody_knows", "trec"):
        with pytest.raises(InputError, match="the ranks of its labels are not known"):
            benchmark.distances_of(dataset, "ordinal", SORTED)


def test_semantic_noise_flips_to_neighbours() -> None:
    rows = Dataset.from_dict(
        {"text": ["a"] * 2000, "label": [0] * 2000},
        features=Features({"text": Value("string"), "label": ClassLabel(names=SORTED)}),
    )
    spoiled = benchmark.spoil(DatasetDict({"train": rows, "validation": rows}), "semantic-ordinal:0.5", 1, "sst5")
    counts = np.bincount(spoiled["train"]["label"], minlength=5)
    # From "negative": one step to "very negative" and "neutral", three to "very positive".
    assert counts[[1, 3]].min() > 2 * counts[4] > 0


@pytest.mark.parametrize("method", ["lane[auxiliary=full]", "lane[auxiliary=full, contrastive=none]"])
def test_the_size_of_the_second_network_is_named_and_no_setting_is_lost(method: str) -> None:
    named = benchmark.name_with_auxiliary(method, argparse.Namespace(auxiliary_layers=2))
    assert named == f"{method}, auxiliary_layers=2"
    assert benchmark.without_auxiliary(named) == benchmark.without_auxiliary(method) == method
    assert benchmark.name_with_auxiliary("lane", argparse.Namespace(auxiliary_layers=2)) == "lane"


@pytest.mark.parametrize("noise", ["uniform", "uniform:much", ":0.2"])
def test_noise_that_makes_no_sense(noise: str) -> None:
    rows = Dataset.from_dict(
        {"text": ["a"] * 4, "label": [0, 1] * 2},
        features=Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])}),
    )
    with pytest.raises(InputError):
        benchmark.spoil(DatasetDict({"train": rows, "validation": rows}), noise, 1)


def crowd_folder(folder: Path, **columns: list[str]) -> Path:
    folder.mkdir()
    for split in ("train", "validation", "test"):
        pd.DataFrame({"text": ["a", "b", "c"], "label": ["no", "yes", "no"], **columns}).to_csv(
            folder / f"{split}.csv", index=False
        )
    return folder


def test_labels_of_another_column_are_what_training_and_validation_see(tmp_path: Path) -> None:
    folder = crowd_folder(tmp_path / "crowd", one_rater=["yes", "yes", "no"])
    noise = "column:one_rater"
    data = benchmark.spoil(benchmark.load(folder, None, noise), noise, 1)
    for split in ("train", "validation"):
        rows = data[split]
        assert (list(rows["label"]), list(rows["original_label"])) == ([1, 1, 0], [0, 1, 0])
        assert list(rows["is_flipped"]) == [True, False, False]
    assert list(data["test"]["label"]) == [0, 1, 0]
    assert list(benchmark.load(folder, None)["train"]["label"]) == [0, 1, 0]


def test_a_column_that_is_missing_or_has_other_labels_is_refused(tmp_path: Path) -> None:
    folder = crowd_folder(tmp_path / "crowd", one_rater=["yes", "perhaps", "no"])
    with pytest.raises(InputError, match=r"train.csv: 'perhaps' in the column 'one_rater' is no label"):
        benchmark.load(folder, None, "column:one_rater")
    with pytest.raises(InputError, match=r"train.csv: no column 'another', which the noise column:another needs"):
        benchmark.load(folder, None, "column:another")


def test_methods_and_their_settings(tmp_path: Path) -> None:
    base = {"output_dir": str(tmp_path), "use_cpu": True}
    kind, config = benchmark.make_config("aum[percentile=50,runs=1]", base)
    assert (kind, config.percentile, config.runs) == (AumTrainer, 50.0, 1)
    kind, config = benchmark.make_config("cartography-hard", base)
    assert (kind, config.select) == (CartographyTrainer, "hard")
    assert benchmark.make_config("plain", base)[0] is RowTrainer
    kind, config = benchmark.make_config("paper", base)
    assert (kind, config.weighting, config.contrastive) == (LaneTrainer, "gaussian", "lscl")
    with pytest.raises(InputError, match="the method 'nothing' is unknown"):
        benchmark.make_config("nothing", base)


def test_rows_that_are_evaluated_come_by_length() -> None:
    rows = Dataset.from_dict({"input_ids": [[1, 2, 3], [4], [5, 6], [7]], "label": [0, 1, 2, 3]})
    assert benchmark.by_length(rows)["label"] == [1, 3, 2, 0]


def test_a_broken_line_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "lines.jsonl"
    output.write_text(json.dumps({"dataset": "trec"}) + "\n")
    argv = ["accuracy.py", "--data_dir", str(tmp_path), "--datasets", "trec", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", argv)
    assert benchmark.main() == 2
    assert "a line is no result of this benchmark" in capsys.readouterr().err
