"""What README and docs tell people to type works: each block is run, on tiny data and a tiny model.

Python blocks of a page share their names, and find those that a reader has (`model`, `train`, `trainer`, ...).
Shell blocks run line by line in a folder with a finished run. A line that cannot run here is named with its reason.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from aum import AUMCalculator
from job import NAMES
from tiny import make_model, make_text_dataset, make_tokenizer

from lane_hf import LaneConfig, LaneTrainer, RowTrainer, packaged_model
from lane_hf.cli import main
from lane_hf.report import estimates

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted(ROOT.glob("docs/**/*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

NOT_RUN = {
    "python3 -m venv": "installs the package anew: continuous integration runs the line with the tests itself",
    "accelerate launch": "tests/distributed and tests/test_examples.py start real processes",
    "torchrun": "tests/distributed starts real processes",
    "lane augment rows.csv": "translation needs models of the Hub: tests/augmentation uses tiny ones",
    "hf auth login": "asks for a token of the Hub",
    "lane push lane_output --repo_id": "needs the Hub: tests/hub/test_push.py pushes to one in memory",
    "lane train --train_file reviews.csv --push_to_hub": "needs the Hub: tests/hub/test_push.py imitates it",
    "lane release train": "needs data and encoder of the Hub: tests/cli/test_cli_release.py trains a tiny one",
    "lane release push": "needs the Hub: tests/cli/test_cli_release.py pushes to one in memory",
    "python benchmarks/": "needs data sets that are not in the repository: tests/test_accuracy_benchmark.py has parts",
    "lane datasets goemotions --data_dir": "needs the files of the original release: tests/datasets imitates them",
}


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    return [(kind, code) for kind, code in _BLOCK.findall(page.read_text(encoding="utf-8")) if kind in languages]


def pages_with(*languages: str) -> Any:
    found = [page for page in PAGES if blocks(page, *languages)]
    return pytest.mark.parametrize("page", found, ids=[str(page.relative_to(ROOT)) for page in found])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder without a head, as the default model is."""
    folder = tmp_path_factory.mktemp("encoder")
    make_model("bert").base_model.save_pretrained(folder)
    make_tokenizer(folder)
    return folder


@pytest.fixture
def here(tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder; what is there by default is tiny."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(estimates, "_RESAMPLES", 2)
    monkeypatch.setattr(packaged_model, "default_model", lambda: str(encoder))
    rows = make_text_dataset(48, len(NAMES))
    table = pd.DataFrame({"text": rows["text"], "label": [NAMES[label] for label in rows["label"]]})
    for name in ("reviews", "rows"):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    calculator = AUMCalculator(str(tmp_path), compressed=False)
    for _ in range(3):
        calculator.update(torch.randn(30, 3), torch.arange(30) % 3, list(range(30)))
    calculator.finalize()
    return tmp_path


def names_of_a_reader() -> dict[str, Any]:
    tokenizer = make_tokenizer()
    train, dev = (make_text_dataset(48, len(NAMES), seed, tokenizer=tokenizer) for seed in (0, 1))
    model = make_model("bert", len(NAMES))
    args = LaneConfig("reader", num_train_epochs=1, weighting_warmup=0.5, report_to="none", use_cpu=True)
    trainer = LaneTrainer(model=model, args=args, train_dataset=train, processing_class=tokenizer)
    trainer.train()
    known = {"model": model, "args": args, "train": train, "dev": dev, "tokenizer": tokenizer, "trainer": trainer}
    return {**known, "RowTrainer": RowTrainer, "LaneTrainer": LaneTrainer, "LaneConfig": LaneConfig}


@pytest.mark.parametrize("language", ["python", "bash", "diff"])
def test_there_are_blocks_to_run(language: str) -> None:
    assert any(blocks(page, language) for page in PAGES)


@pages_with("python", "diff")
def test_python(page: Path, here: Path) -> None:
    names = names_of_a_reader()
    for kind, code in blocks(page, "python", "diff"):
        if kind == "diff":  # what the reader has after the change
            code = "\n".join(line[1:] for line in code.splitlines() if not line.startswith("-"))  # noqa: PLW2901
        exec(compile(code, str(page), "exec"), names)  # noqa: S102 -- this is what readers will do with it


@pages_with("bash")
def test_shell(page: Path, here: Path, encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.split("#")[0].strip() for _, code in blocks(page, "bash") for line in code.splitlines()]
    tiny = ["--model_name_or_path", str(encoder), "--num_train_epochs", "1", "--weighting_warmup", "0.5"]
    if any(line.startswith("lane ") and "lane_output" in line for line in lines):
        assert main(["train", "--train_file", "reviews.csv", "--output_dir", "lane_output", *tiny]) == 0
        shutil.copytree("lane_output", "other_run")
    for line in filter(None, lines):
        if any(line.startswith(start) for start in NOT_RUN):
            continue
        command, *argv = line.split()
        assert command == "lane", f"{page.name}: {line}: neither run here nor excused"
        capsys.readouterr()
        own = tiny[:-2] if "--method" in argv else tiny  # the last option belongs to LANE
        own = own[2:] if "--model_name_or_path" in argv else own
        status = main([*argv, *(own if argv[0] == "train" else [])])
        assert status == 0, f"{page.name}: {line}: {capsys.readouterr().err}"


def test_every_excuse_is_used() -> None:
    everything = [line for page in PAGES for _, code in blocks(page, "bash") for line in code.splitlines()]
    unused = [start for start in NOT_RUN if not any(line.startswith(start) for line in everything)]
    assert unused == []


def test_every_relative_link_leads_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md", ROOT / "examples" / "README.md"]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
