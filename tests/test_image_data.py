"""Image classifiers on a `datasets.Dataset`: pixels made beforehand or by a transform, with a collator for images."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Array3D, Dataset, Features, Value
from tiny import IMAGE_SHAPE, make_image_dataset
from training import make_trainer

PICTURES = make_image_dataset(24)


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    pixels = torch.stack([torch.as_tensor(row["pixel_values"]) for row in rows]).float()
    return {"pixel_values": pixels, "labels": torch.tensor([row["label"] for row in rows])}


def dataset(name: str) -> Dataset:
    """Pictures under a name, their labels, and a column that no model and no collator takes."""
    features = Features({name: Array3D(IMAGE_SHAPE, "float32"), "label": Value("int64"), "source": Value("string")})
    columns = {name: PICTURES.pixel_values.numpy(), "label": PICTURES.labels, "source": ["camera"] * 24}
    return Dataset.from_dict(columns, features=features)


def to_pixels(rows: dict[str, Any]) -> dict[str, Any]:
    return {**rows, "pixel_values": [torch.tensor(picture) for picture in rows["image"]]}


def table_of(folder: Path, data: Any, **options: Any) -> Any:
    trainer = make_trainer(folder, "vit", train_dataset=data, dropout=0.0, **options)
    trainer.train()
    assert trainer.state.global_step == 6
    return trainer.label_issues()


@pytest.mark.parametrize(
    ("data", "removed"),
    [
        (dataset("pixel_values"), True),
        (dataset("pixel_values"), False),
        (dataset("image").with_transform(to_pixels), False),
    ],
    ids=["columns removed", "columns kept", "transform"],
)
def test_rows_of_a_data_set_are_the_rows_of_the_pictures(tmp_path: Path, data: Dataset, removed: bool) -> None:
    issues = table_of(tmp_path / "dataset", data, data_collator=collate, remove_unused_columns=removed)
    assert (issues["visits"] == 2).all()
    by_row = issues.sort_values("row_id")
    assert by_row["given_label"].tolist() == [f"label_{label}" for label in PICTURES.labels]
    # The same pictures without a `datasets.Dataset` give the same table.
    assert issues.equals(table_of(tmp_path / "pictures", PICTURES))
