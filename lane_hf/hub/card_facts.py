"""What a model card may say: only what was measured, or is known from the settings."""

import csv
import math
import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from ..config import PAPER
from ..display import first_line, printable, quoted
from ..errors import InputError
from ..method_config import MethodConfig

if TYPE_CHECKING:
    from ..report.estimates import NoiseRate
    from ..report.label_issues import LabelIssues
    from ..report.run_record import RunRecord

EMISSIONS_FILE = "emissions.csv"
_PACKAGES = ("lane_hf", "transformers", "torch", "accelerate", "datasets")
TRAINING = (
    "num_train_epochs",
    "max_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "bf16",
    "fp16",
    "weight_averaging",
    "seed",
)
_SCORES = {"accuracy": "Accuracy", "f1_macro": "Macro-F1", "f1_weighted": "Weighted F1"}
_WITHOUT = "Remove the file to go on without it"
_SPLITS = {"test": "test", "eval": "validation"}


@dataclass
class Labels:
    """What the training labels looked like.

    Attributes:
        rows: number of rows seen in training.
        noise_rate: estimated share of wrong labels; None if it cannot be estimated.
        flagged: share of the rows that are marked as issues.
        per_label: a line per label, as [`LabelIssues.per_label`].
        injected: kind and rate of noise that was injected on purpose; None if none was.
    """

    rows: int
    noise_rate: "NoiseRate | None"
    flagged: float
    per_label: pd.DataFrame
    injected: tuple[str, float] | None = None


@dataclass
class CardFacts:
    """What a model card may say.

    Attributes:
        name: of the model.
        method: how it was trained, such as "lane".
        labels: what the training labels looked like; None if nothing was trained.
        label_names: names of the labels.
        base_model: Hub id of the encoder; None if it is not from the Hub.
        dataset: name of the data set; None if it is not public.
        dataset_id: its Hub id.
        scores: split -> name of the score -> value, in [0, 1].
        baseline: the same scores of ordinary fine-tuning with the same settings, if it was run.
        detection: how well injected noise was found.
        training: Trainer's arguments that matter.
        options: those of the method.
        departures: options of LANE that are not the paper's, with the paper's value.
        versions: of packages.
        hardware: in words.
        seconds: of training.
        emissions: kg of CO2, if codecarbon has measured them.
        command: that repeats the run; None if it was not started from the command line.
        extra: language, license and tags, as the user gives them, or as they are known of the data set.
        folder: where the checkpoint lies while it is on no Hub; None if it is there, or on its way.

    Example:
        >>> CardFacts("user/model", "lane", None, ["joy", "fear"]).scores
        {}
    """

    name: str
    method: str
    labels: Labels | None
    label_names: list[str]
    base_model: str | None = None
    dataset: str | None = None
    dataset_id: str | None = None
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    baseline: dict[str, dict[str, float]] = field(default_factory=dict)
    detection: dict[str, float] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    departures: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    hardware: str | None = None
    seconds: float | None = None
    emissions: float | None = None
    command: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    folder: str | None = None


def label_facts(issues: "LabelIssues", injected: tuple[str, float] | None) -> Labels:
    """Return what a label table says of the training labels."""
    seen = issues[issues["visits"] > 0]
    per_label = issues.per_label()
    per_label["label"] = [printable(str(name)[:60]) for name in per_label["label"]]
    known = bool(seen["noise_probability"].notna().any())
    rate = issues.noise_rate() if known else None
    return Labels(len(seen), rate, float(seen["is_issue"].mean()) if len(seen) else 0.0, per_label, injected)


def scores_of(metrics: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the scores among flat metrics, by split.

    Example:
        >>> scores_of({"test_accuracy": 0.75, "test_loss": 1.0})
        {'test': {'Accuracy': 0.75}}
    """
    found: dict[str, dict[str, float]] = {}
    for prefix, split in _SPLITS.items():
        for name, shown in _SCORES.items():
            value = metrics.get(f"{prefix}_{name}")
            if value is not None:
                found.setdefault(split, {})[shown] = float(value)
    return found


def detection_of(metrics: dict[str, Any]) -> dict[str, float]:
    """Return how well injected noise was found."""
    shown = {"detection_auroc": "AUROC", "detection_average_precision": "Average precision"}
    return {text: float(metrics[name]) for name, text in shown.items() if metrics.get(name) is not None}


def training_facts(settings: dict[str, Any]) -> dict[str, Any]:
    """Return Trainer's arguments that matter for what was learned."""
    chosen = {name: settings.get(name) for name in TRAINING}
    chosen = {name: value for name, value in chosen.items() if value is not None and value is not False}  # 0 == False
    return {name: value for name, value in chosen.items() if (name, value) != ("max_steps", -1)}


def option_facts(config: type[MethodConfig], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a method."""
    return {name: settings[name] for name in config.own_fields() if name in settings}


def departures_of(options: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the options of LANE that differ from the paper's: ours, and the paper's.

    Example:
        >>> departures_of({"weighting": "mixture", "reweight": True})
        {'weighting': ('mixture', 'gaussian')}
    """
    return {name: (value, PAPER[name]) for name, value in options.items() if name in PAPER and value != PAPER[name]}


def hardware_in_words() -> str:
    """Return what this process computes on.

    Example:
        >>> hardware_in_words()  # doctest: +SKIP
        'cpu (x86_64, 2 cores)'
    """
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    if torch.accelerator.is_available():
        return str(torch.accelerator.current_accelerator())
    return f"cpu ({platform.machine()}, {os.cpu_count()} cores)"


def versions_here() -> dict[str, str]:
    """Return the versions of Python and the packages that matter."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # such as lane_hf itself, run from a folder
            continue
    return found


def emissions_in(folder: str | Path) -> float | None:
    """Return the kg of CO2 that codecarbon's callback has noted in a run's folder, None if it was not there.

    Raises:
        InputError: what is there is no number, or no table.
    """
    path = Path(folder) / EMISSIONS_FILE
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}). {_WITHOUT}") from error
    noted = lines[-1].get("emissions") if lines else None
    if not noted:
        return None
    try:
        emissions = float(noted)
    except ValueError as error:
        raise InputError(f"{path}: {quoted(noted)} is no number. {_WITHOUT}") from error
    if not math.isfinite(emissions):
        raise InputError(f"{path}: {quoted(noted)} is no number. {_WITHOUT}")
    return emissions


def injected_noise(record: "RunRecord") -> tuple[str, float] | None:
    """Return kind and rate of the noise that a run injected on purpose."""
    data = record.settings.get("DataArguments", {})
    rate = data.get("label_noise")
    return (data.get("noise_kind", "uniform"), float(rate)) if rate else None
