"""AUM: margins as the authors' package has them, flags as their script has them, and what is removed."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from aum import AUMCalculator
from baselines.staged_references import slow_flags
from hypothesis import example, given
from hypothesis import strategies as st
from tiny import make_model, make_text_dataset, make_tokenizer
from training import make_trainer
from transformers import AutoModelForSequenceClassification
from variants import assert_comes_back

from lane_hf import AlmBuffer, InputError
from lane_hf.baselines import AumConfig, AumTrainer
from lane_hf.baselines.aum import flagged_rows, threshold_samples
from lane_hf.margins import margin
from lane_hf.noisy_dataset import inject_into_dataset
from lane_hf.row_statistics import RowStatistics


def make(folder: Path, **options: Any) -> AumTrainer:
    options.setdefault("model_init", lambda: make_model("bert"))
    return make_trainer(folder, kind=AumTrainer, args_kind=AumConfig, **options)


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_authors_package(seed: int, tmp_path: Path) -> None:
    rows, labels, epochs = 20, 5, 3
    generator = torch.Generator().manual_seed(seed)
    given_labels = torch.randint(0, labels, (rows,), generator=generator)
    theirs, ours = AUMCalculator(str(tmp_path), compressed=True), AlmBuffer(rows)
    statistics = RowStatistics(rows, labels)
    for _ in range(epochs):
        for ids in torch.randperm(rows, generator=generator).split(6):
            logits = 4 * torch.randn(len(ids), labels, generator=generator)
            theirs.update(logits, given_labels[ids], ids.tolist())
            ours.update(ids, margin(logits, given_labels[ids])[0])
            statistics.record(statistics.observe(ids, given_labels[ids], logits))
    theirs.finalize()
    import pandas as pd

    expected = pd.read_csv(tmp_path / "aum_values.csv").set_index("sample_id")["aum"].sort_index().to_numpy()
    np.testing.assert_allclose(ours.average().numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(statistics.average_margin().numpy(), expected, rtol=1e-5, atol=1e-6)


value = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, math.nan])


@example([(-2.0, False)] + 9 * [(-2.0, True)], 90)  # one of ten is higher: that is not more than 10%
@given(st.lists(st.tuples(value, st.booleans()), min_size=2, max_size=40), st.sampled_from([1, 50, 90, 99, 100]))
def test_flags_equal_the_slow_ones(rows: list[tuple[float, bool]], percentile: int) -> None:
    rows = [(0.25, True), *rows]
    aum, chosen = [row[0] for row in rows], [row[1] for row in rows]
    fast = flagged_rows(torch.tensor(aum), torch.tensor(chosen), percentile)
    assert fast.tolist() == slow_flags(aum, chosen, percentile)


def test_threshold_samples_of_two_runs_do_not_overlap() -> None:
    first, second = (threshold_samples(103, 4, run, seed=7) for run in (1, 2))
    assert int(first.sum()) == int(second.sum()) == 103 // 5
    assert not bool((first & second).any())
    assert torch.equal(first, threshold_samples(103, 4, 1, seed=7))
    assert not torch.equal(first, threshold_samples(103, 4, 1, seed=8))


def test_at_most_a_quarter_of_the_rows_are_mislabelled_on_purpose() -> None:
    assert int(threshold_samples(100, 2, 1, 0).sum()) == 25
    assert int(threshold_samples(8, 100, 1, 0).sum()) == 1


def test_two_runs_judge_every_row_and_remove_wrong_ones(tmp_path: Path) -> None:
    data = make_text_dataset(160, 4, tokenizer=make_tokenizer())
    noisy = inject_into_dataset(data, kind="uniform", rate=0.2, seed=3)
    flipped = np.asarray(noisy["is_flipped"])
    trainer = make(tmp_path, train_dataset=noisy.remove_columns(["is_flipped", "original_label"]), num_train_epochs=24)
    metrics = trainer.train().metrics
    table = trainer.label_issues().set_index("row_id").sort_index()
    assert table["score"].notna().all()
    removed = (table["weight"] == 0).to_numpy()
    assert np.array_equal(removed, table["is_issue"].to_numpy())
    assert 0 < removed.sum() < 160
    assert flipped[removed].mean() > 2 * flipped.mean()
    # A row's suggestion is a label that exists.
    assert set(table["suggested_label"]) <= {f"label_{k}" for k in range(4)}
    assert metrics["train_steps_stage_1"] == metrics["train_steps_stage_2"] == 12 * 20
    assert metrics["train_runtime"] > metrics["train_runtime_stage_1"] + metrics["train_runtime_stage_2"]
    assert_comes_back(trainer, tmp_path / "saved", AutoModelForSequenceClassification.from_pretrained)
    assert trainer.model.config.num_labels == 4


def test_the_table_shows_threshold_samples_as_the_other_run_saw_them(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    scorers = [SimpleNamespace(row_statistics=RowStatistics(64, 4)) for _ in range(2)]
    for run, scorer in enumerate(scorers, start=1):
        for _ in range(run):
            ids = torch.arange(64)
            scorer.row_statistics.record(scorer.row_statistics.observe(ids, ids % 4, torch.randn(64, 4)))
    visits = trainer.statistics_of(scorers).visits
    assert torch.equal(visits == 2, threshold_samples(64, 4, 1, seed=1))


def test_a_row_is_removed_if_every_run_that_judged_it_has_flagged_it(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    samples = [threshold_samples(64, 4, run, seed=1) for run in (1, 2)]
    of_first, of_second = (torch.nonzero(sample).flatten().tolist() for sample in samples)
    ordinary = torch.nonzero(~samples[0] & ~samples[1]).flatten().tolist()
    # Threshold samples have 0: what lies below is flagged. Samples of one run are judged by the other.
    aums = torch.ones(2, 64)
    aums[0, of_first], aums[1, of_second] = 0.0, 0.0
    aums[0, [ordinary[0], ordinary[1], of_second[0]]] = -1.0
    aums[1, [ordinary[0], ordinary[2], of_first[0]]] = -3.0
    buffers = [AlmBuffer(64) for _ in aums]
    for buffer, margins in zip(buffers, aums, strict=True):
        buffer.update(torch.arange(64), margins)
    selection = trainer.select([SimpleNamespace(scores=buffer) for buffer in buffers])
    removed = [ordinary[0], of_first[0], of_second[0]]
    assert torch.nonzero(selection.is_issue).flatten().tolist() == sorted(removed)
    assert torch.equal(selection.kept, ~selection.is_issue)
    assert selection.scores[removed].tolist() == [-2.0, -3.0, -1.0]
    assert selection.scores[[ordinary[1], ordinary[2], of_first[1], of_second[1]]].tolist() == [0.0, -1.0, 1.0, 1.0]


def test_the_variant_with_one_run_keeps_its_threshold_samples(tmp_path: Path) -> None:
    trainer = make(tmp_path, runs=1, percentile=50, num_train_epochs=4)
    trainer.train()
    table = trainer.label_issues().set_index("row_id").sort_index()
    chosen = threshold_samples(64, 4, 1, seed=1).numpy()
    assert table.loc[chosen, "score"].isna().all()
    assert (table.loc[chosen, "weight"] == 1).all()
    assert table.loc[~chosen, "score"].notna().all()


def test_threshold_samples_are_learned_as_the_label_that_does_not_exist(tmp_path: Path) -> None:
    trainer = make(tmp_path, num_train_epochs=30, model_init=lambda: make_model("bert", dropout=0.0))
    scorer = trainer.make_scorer(
        1,
        args=trainer._scorer_arguments(tmp_path / "stage-1"),
        train_dataset=trainer.train_dataset,
        data_collator=trainer.data_collator,
        processing_class=trainer.processing_class,
        model_init=trainer.model_init,
    )
    scorer.train()
    chosen = threshold_samples(64, 4, 1, seed=1).numpy()
    predicted = scorer.predict(trainer.train_dataset).predictions.argmax(axis=1)
    given_labels = np.asarray(trainer.train_dataset["label"])
    assert (predicted[chosen] == 4).mean() > 0.9
    assert (predicted[~chosen] == given_labels[~chosen]).mean() > 0.9
    # The first epoch is not averaged; the rate does not decay.
    assert scorer.scores.count.tolist() == [14] * 64
    assert set(scorer.lr_scheduler.get_last_lr()) == {1e-3}


def test_no_flagged_row_and_all_rows_flagged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lane_hf.baselines.aum.flagged_rows", lambda aum, is_threshold, percentile: torch.zeros_like(is_threshold)
    )
    trainer = make(tmp_path / "none")
    trainer.train()
    assert (trainer.label_issues()["weight"] == 1).all()
    assert not trainer.label_issues()["is_issue"].any()
    monkeypatch.setattr("lane_hf.baselines.aum.flagged_rows", lambda aum, is_threshold, percentile: ~is_threshold)
    with pytest.raises(InputError, match="every row was judged mislabelled"):
        make(tmp_path / "all").train()


def test_two_labels_one_of_them_rare(tmp_path: Path) -> None:
    data = make_text_dataset(64, 2, tokenizer=make_tokenizer())
    rows = [row for row in range(64) if data[row]["label"] == 0]
    rare = data.select([*rows, next(row for row in range(64) if data[row]["label"] == 1)])
    trainer = make(tmp_path, model_init=lambda: make_model("bert", 2), train_dataset=rare)
    trainer.train()
    assert len(trainer.label_issues()) == 33


def test_too_short_to_record_anything(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no margin was recorded"):
        make(tmp_path, max_steps=4).train()


def test_too_few_rows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the training set has 6 rows, AUM needs at least 8"):
        make(tmp_path, train_dataset=make_text_dataset(6, 2, tokenizer=make_tokenizer())).train()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percentile": 0}, r"percentile must be in \(0, 100\]"),
        ({"runs": 0}, r"runs must be in \[1, 3\]"),
        ({"scoring_epochs": 1}, "scoring_epochs must be at least 2"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AumConfig(output_dir=str(tmp_path), **options)
