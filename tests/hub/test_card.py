"""Model cards: everything that was measured is there, and nothing else."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from job import Job
from tiny import make_model
from training import dataset_for, make_trainer

from lane_hf import InputError, LaneConfig, LaneTrainer
from lane_hf.hub.card import _method_of, card_of_trainer, render
from lane_hf.hub.card_facts import CardFacts, Labels, departures_of, emissions_in, scores_of, training_facts
from lane_hf.report.estimates import NoiseRate
from lane_hf.report.run_record import RunRecord
from lane_hf.run_arguments import parse
from lane_hf.run_card import _dataset_of, facts_of_run
from lane_hf.run_command import command_of

PER_LABEL = pd.DataFrame({"label": ["joy", "fear"], "rows": [61, 37], "issues": [13, 5], "noise_rate": [0.213, 0.108]})


def full_facts(**changes: Any) -> CardFacts:
    facts = {
        "name": "user/model",
        "method": "lane",
        "labels": Labels(98, NoiseRate(0.173, 0.151, 0.196), 0.184, PER_LABEL),
        "label_names": ["joy", "fear"],
        "base_model": "org/encoder",
        "dataset": "isear",
        "dataset_id": "org/isear",
        "scores": {"test": {"Accuracy": 0.7123, "Macro-F1": 0.6987}},
        "baseline": {"test": {"Accuracy": 0.6531, "Macro-F1": 0.6412}},
        "training": {"num_train_epochs": 4.0, "seed": 7},
        "options": {"weighting": "mixture"},
        "departures": {"weighting": ("mixture", "gaussian")},
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "hardware": "cpu (x86_64, 2 cores)",
        "seconds": 441.6,
        "emissions": 0.0123,
        "command": "lane train --seed 7",
        "extra": {"language": "en", "license": "apache-2.0", "tags": ["emotion"]},
    }
    return CardFacts(**{**facts, **changes})


def paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split("\n\n")]


def test_the_whole_card() -> None:
    text = render(full_facts())
    card = ModelCard(text)
    assert card.data.to_dict() == {
        "base_model": "org/encoder",
        "datasets": ["org/isear"],
        "language": "en",
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["lane_hf", "noisy-labels", "emotion"],
        "co2_eq_emissions": {"emissions": 12.3},
        "model-index": [
            {
                "name": "model",
                "results": [
                    {
                        "task": {"type": "text-classification"},
                        "dataset": {"name": "isear", "type": "org/isear", "split": "test"},
                        "metrics": [
                            {"type": "accuracy", "value": 0.7123, "name": "Accuracy"},
                            {"type": "f1", "value": 0.6987, "name": "Macro-F1"},
                        ],
                    }
                ],
            }
        ],
    }
    found = paragraphs(card.text)
    for expected in (
        "# user/model",
        "It was fine-tuned from [org/encoder](https://huggingface.co/org/encoder).",
        "Training data: isear.",
        "Labels: joy, fear.",
        "| test | this model | ordinary fine-tuning, same settings | |---|---|---| "
        "| Accuracy | 0.712 | 0.653 | | Macro-F1 | 0.699 | 0.641 |",
        "- Rows seen in training: 98 - Estimated share of wrong labels: 17.3% (95% interval 15.1% to 19.6%, if the "
        "model behind the estimate is right) - Rows marked as label issues: 18.4%",
        "| given label | rows | issues | estimated share wrong | |---|---|---|---| "
        "| joy | 61 | 13 | 21.3% | | fear | 37 | 5 | 10.8% |",
        "| argument | value | |---|---| | method | lane | | num_train_epochs | 4.0 | | seed | 7 | "
        "| weighting | mixture |",
        "- `weighting` is mixture; the paper has gaussian",
        "```bash lane train --seed 7 ```",
        "Hardware: cpu (x86_64, 2 cores). Training time: 442 s. Emissions as codecarbon estimates them: 0.0123 kg "
        "CO2. Versions: python 3.11.7, torch 2.13.0.",
    ):
        assert expected in found, expected


def test_what_was_not_measured_is_absent() -> None:
    text = render(CardFacts("model", "lane", None, ["joy", "fear"]))
    assert re.findall(r"\d+", text.replace("ICLR 2026", "")) == ["2"]  # the number of labels
    for word in ("Results", "Training data", "fine-tuned from", "Departures", "command", "Hardware", "None", "nan"):
        assert word not in text
    assert set(ModelCard(text).data.to_dict()) == {"library_name", "pipeline_tag", "tags"}


def test_names_of_labels_are_no_markup() -> None:
    hostile = ["<script>alert(1)</script>", "a|b", "[x](http://evil)", "two\nlines", "\u202eback", "`code`"]
    table = pd.DataFrame({"label": hostile, "rows": 1, "issues": 0, "noise_rate": 0.0})
    text = render(full_facts(label_names=hostile, labels=Labels(6, None, 0.0, table)))
    assert "<script>" not in text
    assert "](http://evil)" not in text.replace("\\](", "")
    assert "\u202e" not in text
    rows = [line for line in text.splitlines() if line.endswith("| 0.0% |")]
    assert len(rows) == len(hostile)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in rows)


def test_many_labels_are_cut() -> None:
    table = pd.DataFrame({"label": [f"label {n}" for n in range(60)], "rows": 1, "issues": 0, "noise_rate": 0.5})
    assert "20 further labels are left out." in render(full_facts(labels=Labels(60, None, 0.0, table)))


def test_spoiled_labels_are_said_to_be() -> None:
    labels = Labels(98, None, 0.1, PER_LABEL, injected=("pair", 0.4))
    text = " ".join(render(full_facts(labels=labels, detection={"AUROC": 0.9371})).split())
    assert "**spoiled on purpose**: pair noise, 40% of the training labels" in text
    assert "AUROC of finding them: 0.937" in text


@pytest.mark.parametrize("preset", [LaneConfig, LaneConfig.paper])
def test_departures_are_those_of_the_fields(tmp_path: Path, preset: Any) -> None:
    ours, paper = preset(output_dir=str(tmp_path)), LaneConfig.paper(output_dir=str(tmp_path))
    options = {name: getattr(ours, name) for name in LaneConfig.own_fields()}
    differ = {name: (value, getattr(paper, name)) for name, value in options.items() if value != getattr(paper, name)}
    assert departures_of(options) == differ
    assert bool(differ) == (preset is LaneConfig)


def test_settings_that_are_zero_are_said() -> None:
    zeros = {"warmup_steps": 0, "weight_decay": 0.0, "seed": 0}
    assert training_facts({**zeros, "bf16": False, "fp16": None, "max_steps": -1}) == zeros


def test_scores_of_both_splits() -> None:
    metrics = {
        "test_accuracy": 0.5,
        "eval_f1_macro": 0.25,
        "test_loss": 1.0,
        "train_runtime": 3.0,
        "eval_accuracy": None,
    }
    assert scores_of(metrics) == {"test": {"Accuracy": 0.5}, "validation": {"Macro-F1": 0.25}}


def test_emissions_are_the_last_ones_of_codecarbon(tmp_path: Path) -> None:
    assert emissions_in(tmp_path) is None
    (tmp_path / "emissions.csv").write_text("timestamp,emissions\n1,0.5\n2,0.75\n")
    assert emissions_in(tmp_path) == 0.75


@pytest.mark.parametrize("cell", ["much", "nan", '"'])
def test_emissions_that_are_no_number_are_refused(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "emissions.csv"
    path.write_text(f"timestamp,emissions\n1,{cell}\n")
    with pytest.raises(InputError, match=r"emissions\.csv: .* Remove the file to go on without it"):
        emissions_in(tmp_path)
    path.write_bytes(b"timestamp,emissions\n\xff,1\n")
    with pytest.raises(InputError, match="cannot be read"):
        emissions_in(tmp_path)


def test_a_trainer_without_a_command_line(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, model=make_model("bert"), train_dataset=dataset_for("bert"), num_train_epochs=2)
    assert isinstance(trainer, LaneTrainer)
    before = card_of_trainer(trainer, {})
    assert "What the training labels looked like" not in before
    trainer.train()
    text = card_of_trainer(trainer, {"language": "de", "dataset": "my emotions"})
    assert "- Rows seen in training: 64" in text
    assert "Training data: my emotions." in text
    assert ModelCard(text).data.language == "de"
    assert "| method | lane |" in text
    assert str(tmp_path) not in text


def test_a_class_of_the_users_is_called_by_its_own_name() -> None:
    class Mine(LaneTrainer):
        pass

    assert _method_of(object.__new__(LaneTrainer)) == "lane"
    assert _method_of(object.__new__(Mine)) == "Mine"


def test_the_card_of_a_run_repeats_its_figures_and_its_command(job: Job) -> None:
    given = {"train_file": job.data(), "test_file": job.data("test.csv", seed=1), "label_noise": 0.25, "seed": 5}
    assert job(**given, method="gce", gce_q=0.5).status == 0
    baseline = job.folder / "plain"
    assert job(**given, method="plain", output_dir=baseline).status == 0
    facts = facts_of_run(job.output_dir, "user/model", baseline=baseline)
    metrics = job.metrics()
    assert facts.scores["test"]["Accuracy"] == metrics["test_accuracy"]
    assert facts.baseline == scores_of(job.metrics(baseline))
    assert facts.detection["AUROC"] == metrics["detection_auroc"]
    assert facts.labels.injected == ("uniform", 0.25)
    assert facts.labels.rows == 32
    assert facts.method == "gce"
    assert facts.options == {"gce_q": 0.5}
    assert facts.hardware.startswith("cpu")
    assert facts.extra == {}  # nobody knows in what language a file of the user's is
    assert facts.base_model is None  # a folder of the user's
    assert str(job.folder) not in render(facts)
    # The command has the files' names only; with their folder it is the run again.
    words = facts.command.split()
    assert words[:2] == ["lane", "train"]
    _, data, config = parse([*words[2:], "--model_name_or_path", str(job.model)])
    assert (data.label_noise, config.seed, config.method, config.gce_q) == (0.25, 5, "gce", 0.5)
    assert data.train_file == "train.csv"


def test_the_command_leaves_out_what_is_so_by_itself() -> None:
    assert command_of({"RunConfig": {"method": "lane", "seed": 42, "hub_token": "<HUB_TOKEN>"}}) == "lane train"
    settings = {"DataArguments": {"label_order": ["very bad", "good"]}, "ModelArguments": {"max_length": 64}}
    assert command_of(settings) == "lane train --max_length 64 --label_order 'very bad' good"
    files = {"DataArguments": {"train_file": "/home/me/rows.csv", "test_file": "data/test.csv", "dataset": "org/set"}}
    expected = "lane train --dataset org/set --test_file test.csv --train_file rows.csv"
    assert sorted(command_of(files).split()) == sorted(expected.split())
    assert command_of({"ModelArguments": {"model_name_or_path": "/home/me/encoder"}}).endswith(" encoder")
    options = {"RunConfig": {"lr_scheduler_kwargs": {"min_lr": 1e-05}}}
    words = shlex.split(command_of(options))
    assert words[2] == "--lr_scheduler_kwargs"
    assert json.loads(words[3]) == {"min_lr": 1e-05}
    assert parse(words[2:])[2].lr_scheduler_kwargs == {"min_lr": 1e-05}


@pytest.mark.parametrize("local", [None, []])
def test_an_id_of_the_hub_is_shown_whole(local: Any) -> None:
    models = {"model_name_or_path": "BAAI/bge-small-en-v1.5"}
    settings = {"ModelArguments": models, "DataArguments": {"dataset": "org/set-v1.5"}, "local_paths": local}
    assert command_of(settings) == "lane train --model_name_or_path BAAI/bge-small-en-v1.5 --dataset org/set-v1.5"


def test_folders_of_the_users_are_shown_by_their_name_only() -> None:
    folder = "clients/acme/release"
    data = {"data_dir": folder, "train_file": "clients/acme/rows", "text_column": "body/text"}
    command = command_of({"ModelArguments": {"cache_dir": "acme/cache"}, "DataArguments": data})
    assert command == "lane train --cache_dir cache --data_dir release --train_file rows --text_column body/text"
    for model in (folder, "./acme", "~/acme"):
        shown = command_of({"ModelArguments": {"model_name_or_path": model}}).split()[-1]
        assert shown == Path(model).name
    local = {"ModelArguments": {"model_name_or_path": "acme/bert"}, "DataArguments": {"dataset": "acme/rows"}}
    local["local_paths"] = ["model_name_or_path", "dataset"]
    assert command_of(local) == "lane train --model_name_or_path bert --dataset rows"


def test_a_folder_stays_one_when_the_card_is_written_elsewhere(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    train = job.data()
    monkeypatch.chdir(job.model.parents[1])
    model = str(job.model.relative_to(job.model.parents[1]))
    assert job(train_file=train, model_name_or_path=model).status == 0
    assert job.settings()["local_paths"] == ["model_name_or_path"]
    monkeypatch.chdir(job.output_dir)
    facts = facts_of_run(job.output_dir)
    assert facts.base_model is None
    assert model not in facts.command


def test_a_folder_of_the_users_is_no_name_of_a_data_set(tmp_path: Path) -> None:
    def named(dataset: str) -> Any:
        return _dataset_of(RunRecord(issues=None, settings={"DataArguments": {"dataset": dataset}}))

    assert named(str(tmp_path)) == ("a table that is not public", None)
    assert named("org/set") == ("org/set", "org/set")
    assert named("demo") == ("demo", None)
    settings = {"DataArguments": {"dataset": "acme/rows"}, "local_paths": ["dataset"]}
    assert _dataset_of(RunRecord(issues=None, settings=settings)) == ("a table that is not public", None)
