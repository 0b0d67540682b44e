"""Data maps: which rows are chosen, and that the last run trains on these and no others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from baselines.staged_references import slow_map
from hypothesis import given
from hypothesis import strategies as st
from tiny import make_model, make_text_dataset, make_tokenizer
from training import make_trainer

from lane_hf import InputError
from lane_hf.baselines import CartographyConfig, CartographyTrainer
from lane_hf.baselines.cartography import best_rows
from lane_hf.row_statistics import RowStatistics


def make(folder: Path, **options: Any) -> CartographyTrainer:
    options.setdefault("model_init", lambda: make_model("bert"))
    return make_trainer(folder, kind=CartographyTrainer, args_kind=CartographyConfig, **options)


@pytest.mark.parametrize("seed", range(5))
def test_the_map_equals_the_slow_one(seed: int) -> None:
    rows, labels, epochs = 7, 3, 4
    generator = torch.Generator().manual_seed(seed)
    given_labels = torch.randint(0, labels, (rows,), generator=generator)
    statistics = RowStatistics(rows, labels)
    visits: list[list[tuple[int, list[float]]]] = [[] for _ in range(rows)]
    for _ in range(epochs):
        logits = 3 * torch.randn(rows, labels, generator=generator)
        statistics.record(statistics.observe(torch.arange(rows), given_labels, logits))
        for row in range(rows):
            visits[row].append((int(given_labels[row]), logits[row].tolist()))
    confidence, variability, correctness = slow_map(visits, rows)
    assert statistics.given_confidence().tolist() == pytest.approx(confidence.tolist(), rel=1e-5)
    assert statistics.given_variability().tolist() == pytest.approx(variability.tolist(), rel=1e-4, abs=1e-6)
    assert statistics.correctness().tolist() == pytest.approx(correctness.tolist())


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=30), st.floats(0.01, 1.0))
def test_best_rows_are_the_first_of_the_sorted_ones(values: list[float], fraction: float) -> None:
    number = max(1, round(fraction * len(values)))
    expected = sorted(range(len(values)), key=lambda row: (-values[row], row))[:number]
    assert torch.nonzero(best_rows(torch.tensor(values), fraction)).flatten().tolist() == sorted(expected)


def test_best_rows_of_each_label() -> None:
    values, labels = torch.tensor([0.9, 0.8, 0.7, 0.1, 0.2, 0.05]), torch.tensor([0, 0, 0, 1, 1, 2])
    assert best_rows(values, 1 / 3).tolist() == [True, True, False, False, False, False]
    assert best_rows(values, 1 / 3, labels).tolist() == [True, False, False, False, True, True]


@pytest.mark.parametrize("select", ["easy", "hard", "ambiguous"])
def test_the_chosen_rows_are_retrained_on(tmp_path: Path, select: str) -> None:
    trainer = make(tmp_path, select=select, fraction=0.25, num_train_epochs=2)
    metrics = trainer.train().metrics
    table = trainer.label_issues()
    kept = table["weight"] == 1
    assert kept.sum() == 16
    assert set(table["weight"]) == {0.0, 1.0}
    assert (table["visits"] == 2).all()  # of the run that drew the map
    if select == "easy":
        assert table.loc[kept, "score"].min() >= table.loc[~kept, "score"].max()
    if select == "hard":
        assert table.loc[kept, "score"].max() <= table.loc[~kept, "score"].min()
    if select == "ambiguous":
        assert table.loc[kept, "variability"].min() >= table.loc[~kept, "variability"].max()
    # A quarter of the rows, four times as often: as many steps as on all rows.
    assert trainer.state.global_step == 16
    assert metrics["train_steps"] == 32
    assert metrics["train_steps_stage_1"] == 16
    assert trainer.row_statistics.visits.tolist() == [8] * 16
    assert len(trainer.train_dataset) == 64
    assert trainer.args.num_train_epochs == 2


def test_as_many_epochs_if_asked(tmp_path: Path) -> None:
    trainer = make(tmp_path, fraction=0.25, num_train_epochs=2, same_steps=False)
    trainer.train()
    assert trainer.row_statistics.visits.tolist() == [2] * 16


def test_rare_labels_are_warned_about_and_can_be_kept(tmp_path: Path) -> None:
    rows = make_text_dataset(64, 4, tokenizer=make_tokenizer())
    kept = [row for row in range(64) if rows[row]["label"] != 3]
    rare = rows.select([*kept, next(row for row in range(64) if rows[row]["label"] == 3)])
    with pytest.warns(UserWarning, match=r"no row of \d labels was selected \(.*label_3\)"):
        make(tmp_path / "a", select="easy", fraction=0.2, train_dataset=rare).train()
    trainer = make(tmp_path / "b", select="easy", fraction=0.2, train_dataset=rare, stratify=True)
    trainer.train()
    chosen = trainer.label_issues().query("weight == 1")
    assert set(chosen["given_label"]) == {"label_0", "label_1", "label_2", "label_3"}


def test_two_labels(tmp_path: Path) -> None:
    data = make_text_dataset(32, 2, tokenizer=make_tokenizer())
    trainer = make(tmp_path, model_init=lambda: make_model("bert", 2), train_dataset=data)
    trainer.train()
    assert (trainer.label_issues()["weight"] == 1).sum() == 11


def test_the_users_row_ids_name_the_rows(tmp_path: Path) -> None:
    data = make_text_dataset(64, 4, tokenizer=make_tokenizer()).add_column("row_id", list(range(500, 564)))
    trainer = make(tmp_path, train_dataset=data, fraction=0.25)
    trainer.train()
    assert sorted(trainer.label_issues()["row_id"]) == list(range(500, 564))


def test_a_torch_data_set(tmp_path: Path) -> None:
    data = [dict(row) for row in make_text_dataset(32, 4, tokenizer=make_tokenizer())]

    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(data)

        def __getitem__(self, index: int) -> Any:
            return data[index]

    trainer = make(tmp_path, train_dataset=Rows(), fraction=0.5)
    trainer.train()
    assert trainer.row_statistics.visits.tolist() == [4] * 16


def test_one_epoch_leaves_no_variability(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its variability is therefore unknown"):
        make(tmp_path, select="ambiguous", num_train_epochs=1).train()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"fraction": 0.0}, r"fraction must be in \(0, 1\]"), ({"select": "easiest"}, "select='easiest' is unknown")],
)
def test_wrong_options(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CartographyConfig(output_dir=str(tmp_path), **options)
