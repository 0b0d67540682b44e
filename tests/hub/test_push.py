"""What reaches the Hub, and what happens if it cannot be reached: with the real client, in processes of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
from fake_hub import PATIENT, FakeHub, run_client
from fake_hub_api import EXPIRED
from job import NAMES
from safetensors.torch import load
from tiny import make_model, make_tokenizer

TESTS = str(Path(__file__).parents[1])
TOKENIZER = {"tokenizer.json", "tokenizer_config.json"}
MODEL = {".gitattributes", "README.md", "config.json", "model.safetensors", "training_args.json", *TOKENIZER}

SETUP = f"""
import json, os, sys, tempfile
sys.path.insert(0, {TESTS!r})
import torch
torch.set_num_threads(1)
import pandas as pd
from job import NAMES
from tiny import make_model, make_text_dataset, make_tokenizer
from training import dataset_for, make_trainer
from lane_hf import LaneConfig, LaneTrainer
seen = {{}}
"""


def client(hub: FakeHub, code: str, **environment: str | None) -> dict[str, Any]:
    """Run code that fills `seen`, and return it."""
    done = run_client(f"{SETUP}\n{code}\nprint(json.dumps(seen))", hub, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with a tiny model, data, and a secret in the texts."""
    make_model("bert", len(NAMES)).save_pretrained(tmp_path / "tiny")
    make_tokenizer(tmp_path / "tiny")
    rows = "".join(f"the secretword of row {row},{NAMES[row % 4]}\n" for row in range(32))
    (tmp_path / "train.csv").write_text(f"text,label\n{rows}")
    return tmp_path


def command(run: Path, *more: str) -> list[str]:
    return [
        *("--model_name_or_path", str(run / "tiny"), "--train_file", str(run / "train.csv")),
        *("--output_dir", str(run / "out"), "--num_train_epochs", "2", "--weighting_warmup", "1", "--bf16", "False"),
        *("--push_to_hub", "True", "--hub_model_id", "owner/model", "--margin_history", "True", *more),
    ]


def test_the_command_line_uploads_a_plain_classifier_that_anyone_can_load(hub: FakeHub, run: Path) -> None:
    client(hub, f"from lane_hf.run import main\nassert main({command(run)!r}) == 0")
    files = hub.files("owner/model")
    assert files.keys() == MODEL
    assert not any(b"secretword" in content for content in files.values())
    assert not any(str(run).encode() in content for content in files.values())
    assert not any("aux" in name for name in load(files["model.safetensors"]))
    titles = [commit.title for commit in hub.commits("owner/model")]
    assert "Training in progress, epoch 1" in titles
    assert titles[0] == "End of training"
    assert json.loads(files["training_args.json"])["weighting_warmup"] == 1.0
    assert "| given label | rows |" in files["README.md"].decode()
    assert not (run / "out" / "_hub").exists()

    # The table is a data set of its own, only if it is asked for, and without texts.
    table = f"""
from datasets import load_dataset
from lane_hf.report.run_record import read_run
record = read_run({str(run / "out")!r})
record.issues.push_to_hub("owner/model-issues")
seen["columns"] = load_dataset("owner/model-issues", split="train").column_names
record.issues.push_to_hub("owner/with-texts", include_text=True)
seen["with"] = load_dataset("owner/with-texts", split="train")[0]["text"]
"""
    seen = client(hub, table)
    assert {"row_id", "given_label", "noise_probability"} <= set(seen["columns"])
    assert "text" not in seen["columns"]
    assert "secretword" in seen["with"]
    assert hub.repos["dataset", "owner/model-issues"].private

    anyone = """
import json, sys
from transformers import pipeline
found = pipeline("text-classification", "owner/model")("a text")
assert not any(name.split(".")[0] == "lane_hf" for name in sys.modules)
print(json.dumps(found[0]))
"""
    done = run_client(anyone, hub)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["label"] in NAMES


STRATEGIES = """
from huggingface_hub import snapshot_download
for strategy in ("end", "checkpoint", "all_checkpoints"):
    options = {"hub_strategy": strategy, "hub_always_push": True, "save_strategy": "steps", "save_steps": 8,
               "save_total_limit": 1, "num_train_epochs": 3, "push_to_hub": True,
               "hub_model_id": f"owner/{strategy.replace('_', '-')}"}
    def make(folder):
        return make_trainer(folder, **options, model=make_model("bert"))
    whole = make(f"{folder}/{strategy}")
    whole.train()
    first = whole.push_to_hub()
    seen[strategy] = [first.oid, whole.push_to_hub().oid]
    if strategy == "checkpoint":
        last = snapshot_download("owner/checkpoint") + "/last-checkpoint"
        seen["last"] = json.load(open(f"{last}/trainer_state.json"))["global_step"]
        resumed = make(f"{folder}/resumed")
        resumed.train(resume_from_checkpoint=last)
        same = zip(whole.model.parameters(), resumed.model.parameters())
        seen["resumed"] = all(torch.equal(one, other) for one, other in same)
"""


def test_each_strategy_does_what_it_is_called_and_a_run_goes_on_from_the_hub(hub: FakeHub, tmp_path: Path) -> None:
    seen = client(hub, f"folder = {str(tmp_path)!r}\n{STRATEGIES}")
    for strategy in ("end", "checkpoint", "all_checkpoints"):
        assert len(set(seen[strategy])) == 1, "pushing the same again makes no commit"
        files = set(hub.files(f"owner/{strategy.replace('_', '-')}"))
        assert {path for path in files if "/" not in path} == MODEL
        assert not any(path.endswith("training_args.bin") for path in files)
        folders = {path.split("/")[0] for path in files if "/" in path}
        expected = {"end": set(), "checkpoint": {"last-checkpoint"}}
        assert folders == expected.get(strategy, {"checkpoint-8", "checkpoint-16", "checkpoint-24"})
    titles = [commit.title for commit in hub.commits("owner/end")]
    assert [title for title in titles if "progress" in title] == []
    assert seen["last"] == 24
    assert seen["resumed"]
    assert "last-checkpoint/lane_state.safetensors" in hub.files("owner/checkpoint")


# The client waits for a Hub that is down, 23 s in all: here a hundredth of that.
IMPATIENT = """
import time
sleep = time.sleep
time.sleep = lambda seconds: sleep(seconds / 100)
"""


def test_a_hub_that_is_down_at_the_end_costs_nothing(hub: FakeHub, run: Path) -> None:
    hub.fail(r"POST /api/models/owner/model/(commit|preupload)", times=1000, status=503)
    arguments = command(run, "--hub_strategy", "end")
    code = f"{IMPATIENT}import sys\nfrom lane_hf.cli import main\nsys.exit(main(['train', *{arguments!r}]))"
    done = run_client(code, hub)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: owner/model could not be uploaded (")
    assert last.endswith(f"push it later with lane push {run / 'out'} --repo_id owner/model")
    assert "Traceback" not in done.stderr
    for name in ("model.safetensors", "metrics.json", "label_issues.parquet", "run_config.json"):
        assert (run / "out" / name).is_file()

    hub.faults.clear()
    later = last.split("push it later with lane ")[1].split()
    code = f"import sys\nfrom lane_hf.cli import main\nsys.exit(main([*{later!r}, '--private', '--language', 'en']))"
    done = run_client(code, hub)
    assert done.returncode == 0, done.stderr
    assert "Uploaded: " in done.stdout
    assert hub.files("owner/model").keys() == MODEL
    assert b"language: en" in hub.files("owner/model")["README.md"]


PUSH_FROM_PYTHON = """
from lane_hf.errors import HubError
options = {"push_to_hub": True, "hub_model_id": "owner/model", "hub_strategy": "end"}
trainer = make_trainer(folder, **options, model=make_model("bert"))
trainer.train()
try:
    trainer.push_to_hub(language="de")
except HubError as error:
    seen["said"] = str(error)
"""


def test_a_push_from_python_can_be_done_later_by_the_command(hub: FakeHub, tmp_path: Path) -> None:
    hub.fail(r"POST /api/models/owner/model/(commit|preupload)", times=1000, status=503)
    said = client(hub, f"{IMPATIENT}folder = {str(tmp_path / 'out')!r}\n{PUSH_FROM_PYTHON}")["said"]
    hub.faults.clear()
    later = said.split("push it later with lane ")[1].split()
    done = run_client(f"import sys\nfrom lane_hf.cli import main\nsys.exit(main({later!r}))", hub)
    assert done.returncode == 0, done.stderr
    assert hub.files("owner/model").keys() == MODEL
    assert b"language: de" in hub.files("owner/model")["README.md"]


PUSHES = """
import contextlib, io
from lane_hf.cli import main

def push(name):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(["push", folder, "--repo_id", f"owner/{name}"])
    return [code, out.getvalue().strip(), err.getvalue().strip()]

for name in ("limited", "cut", "fails", "lost", "expires", "gone"):
    seen[name] = [push(name), push(name)]
"""


def test_faults_on_the_way_cost_a_repetition_at_most(hub: FakeHub, run: Path) -> None:
    quiet = ["--push_to_hub", "False", "--num_train_epochs", "1"]
    client(hub, f"from lane_hf.run import main\nassert main({command(run, *quiet)!r}) == 0")
    hub.limit("^POST /owner/limited.*objects/batch$", retry_after=200)
    hub.limit("^POST /api/models/owner/limited/preupload", retry_after=200)
    hub.cut("^PUT /owner/cut.*/objects/[0-9a-f]+$")
    hub.fail("^POST /api/models/owner/fails/commit/")
    hub.lose("^POST /api/models/owner/lost/commit/")
    hub.fail("^POST /api/models/owner/expires/preupload", status=401)
    hub.cut("^PUT /owner/gone.*/objects/[0-9a-f]+$", times=1000)
    before = {path.name: path.read_bytes() for path in (run / "out").iterdir() if path.is_file()}
    seen = client(hub, f"{IMPATIENT}folder = {str(run / 'out')!r}\n{PUSHES}")

    # Too many requests, half an upload: the client tries again by itself, of the latter not every version.
    patient = ["limited", "cut"] if PATIENT else ["limited"]
    for name in patient:
        assert [code for code, _, _ in seen[name]] == [0, 0], seen[name]
    assert [request.status for request in hub.served("^PUT /owner/cut")][:2] == [0, 200]
    # The others are told in one line, and the same command once more is enough.
    for name in {"cut", "fails", "lost", "expires"}.difference(patient):
        (code, out, error), again = seen[name]
        assert (code, out) == (1, "")
        assert error.startswith(f"error: owner/{name} could not be uploaded (")
        assert error.endswith(f"The model is complete in {run / 'out'}: try again")
        assert len(error.splitlines()) == 1
        assert again[0] == 0, again
    for name in ("limited", "cut", "fails", "lost", "expires"):
        assert hub.files(f"owner/{name}").keys() == MODEL - {"training_args.json"}
        assert len(hub.commits(f"owner/{name}")) == 2, "the first one, and one upload"
    assert [code for code, _, _ in seen["gone"]] == [1, 1]
    assert hub.files("owner/gone").keys() == {".gitattributes"}
    after = {path.name: path.read_bytes() for path in (run / "out").iterdir() if path.is_file()}
    assert {name: content for name, content in after.items() if name != "README.md"} == {
        name: content for name, content in before.items() if name != "README.md"
    }


@pytest.mark.parametrize(
    ("name", "environment"),
    [("owner/model", {"HF_TOKEN": EXPIRED}), ("other/model", {})],
    ids=["expired", "taken"],
)
def test_a_refusal_comes_before_training_and_in_one_line(
    hub: FakeHub, run: Path, name: str, environment: dict[str, str | None]
) -> None:
    arguments = [*command(run), "--hub_model_id", name]
    code = f"import sys\nfrom lane_hf.cli import main\nsys.exit(main(['train', *{arguments!r}]))"
    done = run_client(code, hub, **environment)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: the repository {name} could not be made on the Hub")
    assert "Traceback" not in done.stderr
    assert "epoch 1" not in done.stderr


UPLOADS_THAT_FAIL = """
import warnings
options = {"hub_always_push": True, "save_strategy": "epoch", "num_train_epochs": 2, "push_to_hub": True,
           "hub_model_id": "owner/model", "model": make_model("bert")}
trainer = make_trainer(folder, **options)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    trainer.train()
    trainer._finish_current_push()
    seen["warned"] = [str(each.message) for each in caught if "uploads during training" in str(each.message)]
trainer.push_to_hub()
"""


def test_uploads_that_fail_during_training_are_told(hub: FakeHub, tmp_path: Path) -> None:
    hub.fail(r"POST /api/models/owner/model/preupload", times=2, status=403)
    seen = client(hub, f"folder = {str(tmp_path)!r}\n{UPLOADS_THAT_FAIL}")
    assert seen["warned"]
    assert "the model is uploaded again at the end" in seen["warned"][0]
    assert hub.files("owner/model").keys() == MODEL
