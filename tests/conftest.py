"""What every test needs: no network, no reporting, a cache of its own, few threads, and tiny things to train."""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

# Before anything imports transformers, huggingface_hub or datasets: they read these once, at import.
os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_DATASETS_CACHE=tempfile.mkdtemp(prefix="lane_hf_tests_"),
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    TOKENIZERS_PARALLELISM="false",
    WANDB_MODE="disabled",
    COMET_MODE="disabled",
    DISABLE_MLFLOW_INTEGRATION="TRUE",
)

# Tiny models spend more time waking a second thread than it saves, in processes that tests start as well.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from datasets import Dataset
from fake_hub import hub, hub_server  # noqa: F401 -- fixtures
from forking import Template
from hypothesis import settings
from job import NAMES, Job
from tiny import make_model, make_text_dataset, make_tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

TESTS = Path(__file__).parent
_DATASETS_CACHE = os.environ["HF_DATASETS_CACHE"]

torch.set_num_threads(1)
# No deadline: a loaded machine is not a bug. In continuous integration the same examples every time.
settings.register_profile("lane_hf", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("lane_hf")


# Files that take half a minute or more, the longest first: with several workers, whose share is a file, none of them
# must be left for one worker at the end while the others have nothing to do.
LONG = (
    *("baselines/test_all_methods.py", "distributed/test_data_parallel.py", "report/test_html.py"),
    *("report/test_html_browser.py", "test_row_trainer.py", "hub/test_push.py", "test_documents.py"),
    *("faults/test_bad_checkpoints.py", "test_trainer.py", "test_compile.py", "test_example_scripts.py"),
    *("test_run.py", "test_trainer_options.py", "distributed/test_two_hosts.py", "distributed/test_fsdp2.py"),
    *("faults/test_kills.py", "test_buffer.py", "faults/test_stage_kills.py", "test_detection_benchmark.py"),
    "baselines/test_aum.py",
)


# Measuring coverage makes Python half as slow again. What these run is nearly all run by others too (of the methods
# by test_run_methods.py), or is no part of the package, or runs in processes of its own: it is measured in the others.
UNMEASURED = (
    *("baselines", "distributed", "faults", "fuzz", "hub/test_push.py"),
    *("report/test_hostile_runs.py", "report/test_html.py", "report/test_html_browser.py", "test_buffer_benchmark.py"),
    *("test_compile.py", "test_cost_benchmark.py", "test_detection_benchmark.py", "test_documents.py"),
    *("test_example_scripts.py", "test_examples.py", "test_llm_scoring.py", "test_llm_server.py", "test_notebook.py"),
    *("test_peft.py", "test_precision.py", "test_security.py", "test_site.py", "test_trainer_options.py"),
    # Formulas, on thousands of random inputs; every training runs them as well.
    *("test_buffer.py", "test_buffer_machine.py", "test_buffer_scale.py", "test_buffer_state.py", "test_margins.py"),
    *("test_contrastive.py", "test_contrastive_edges.py", "test_believed_contrastive.py", "test_row_statistics.py"),
    *("test_noise_distributions.py", "report/test_estimates.py", "augmentation/test_translation_cache.py"),
)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # xdist would begin with the files that have the most tests


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    place = {TESTS / name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path, len(LONG)))
    if config.pluginmanager.has_plugin("_cov"):
        for item in items:
            if any(item.path.is_relative_to(TESTS / name) for name in UNMEASURED):
                item.add_marker("no_cover")


def pytest_collection_finish() -> None:
    """Let no collection of garbage look at what is there for good: each start of a training asks for several."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    shutil.rmtree(_DATASETS_CACHE, ignore_errors=True)


@pytest.fixture(scope="session")
def template() -> Iterator[Template]:
    """What scripts are forked from that would import the large packages first."""
    wanted = ("lane_hf.trainer", "lane_hf.report.html", "matplotlib.pyplot", "peft")
    template = Template(modules=[name for name in wanted if find_spec(name.split(".")[0])])
    yield template
    template.stop()


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture
def tiny_bert() -> PreTrainedModel:
    return make_model("bert")


@pytest.fixture
def text_dataset(tokenizer: PreTrainedTokenizerFast) -> Dataset:
    """64 tokenised rows over 4 labels."""
    return make_text_dataset(tokenizer=tokenizer)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with as many labels as the data."""
    folder = tmp_path_factory.mktemp("model")
    make_model("bert", len(NAMES)).save_pretrained(folder)
    make_tokenizer(folder)
    return folder


@pytest.fixture
def job(tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]) -> Job:
    return Job(tmp_path, model_folder, capsys)
