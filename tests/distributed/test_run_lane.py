"""The main job in two real processes: one output, complete, and every row seen as often as there were epochs."""

import json
from pathlib import Path

import pandas as pd
from launching import launch
from tiny import make_model, make_text_dataset, make_tokenizer
from transformers import AutoModelForSequenceClassification

SCRIPT = Path(__file__).parents[2] / "examples" / "run_lane.py"
EPOCHS = 2


def test_run_lane_in_two_processes(tmp_path: Path) -> None:
    make_model("bert", 4).save_pretrained(tmp_path / "model")
    make_tokenizer(tmp_path / "model")
    for split, rows in (("train", 61), ("validation", 13), ("test", 13)):
        make_text_dataset(rows, seed=rows).to_pandas().to_csv(tmp_path / f"{split}.csv", index=False)
    files = [f"--{split}_file={tmp_path / split}.csv" for split in ("train", "validation", "test")]
    options = [f"--num_train_epochs={EPOCHS}", "--per_device_train_batch_size=6", "--label_noise=0.2"]
    options += ["--check_replicas", "--weighting_warmup=1", f"--output_dir={tmp_path / 'out'}"]
    printed = launch(SCRIPT, 2, f"--model_name_or_path={tmp_path / 'model'}", *files, *options)

    assert printed.count("Training with lane on 2 processes (cpu") == 1
    issues = pd.read_parquet(tmp_path / "out" / "label_issues.parquet")
    assert sorted(issues["row_id"]) == list(range(61))
    assert issues["visits"].tolist() == [EPOCHS] * 61
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {"test_accuracy", "eval_accuracy", "detection_auroc"} <= metrics.keys()
    assert json.loads((tmp_path / "out" / "run_config.json").read_text())["processes"] == 2
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 13
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")


def test_the_processes_part_before_python_shuts_down(tmp_path: Path) -> None:
    make_model("bert", 4).save_pretrained(tmp_path / "model")
    make_tokenizer(tmp_path / "model")
    make_text_dataset(12, seed=1).to_pandas().to_csv(tmp_path / "train.csv", index=False)
    arguments = [f"--train_file={tmp_path / 'train.csv'}", f"--model_name_or_path={tmp_path / 'model'}"]
    arguments += ["--use_cpu", "--max_steps=1", f"--output_dir={tmp_path / 'out'}"]
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\n"
        "from lane_hf.run import main\n"
        f"status = main({arguments!r})\n"
        "print('together' if torch.distributed.is_initialized() else 'parted', status)\n"
    )
    assert launch(script, 2).count("parted 0") == 2
