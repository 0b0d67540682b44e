"""The files of a run's folder beside its model and its label table: settings, numbers, and what must go."""

import dataclasses
import json
import math
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .errors import InputError
from .hub.card_facts import EMISSIONS_FILE, hardware_in_words
from .margin_history import MARGINS_FILE, PARTIAL_FILE, ROW_IDS_FILE
from .methods import METHODS
from .report import REPORT_FILE
from .report.run_record import ISSUES_FILE
from .run_arguments import DataArguments, ModelArguments, RunConfig
from .run_command import GROUPS


def make_output_dir(config: RunConfig) -> Path:
    """Make the folder of a run, if it is not there.

    Raises:
        InputError: it cannot be made, or written to.
    """
    path = Path(config.output_dir)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"output_dir {path} cannot be created ({error.strerror}): choose another one") from error
    if not os.access(path, os.W_OK):
        raise InputError(f"output_dir {path} cannot be written to: choose another one")
    return path


def emissions_noted(output_dir: Path) -> int | None:
    """Return when codecarbon has last written into the folder of a run, in nanoseconds; None if it has not."""
    path = output_dir / EMISSIONS_FILE
    return path.stat().st_mtime_ns if path.exists() else None


def remove_earlier(output_dir: Path, config: RunConfig, emissions: int | None) -> None:
    """Remove what an earlier run has left and this one may not write: it would pass for this one's.

    Args:
        output_dir: the folder.
        config: the arguments of this run.
        emissions: what [`emissions_noted`] said before this run trained.
    """
    stale = [ISSUES_FILE, "metrics.json", "predictions.csv", REPORT_FILE]
    if emissions_noted(output_dir) == emissions:
        stale.append(EMISSIONS_FILE)
    if not config.margin_history:
        stale += [MARGINS_FILE, PARTIAL_FILE, str(Path(MARGINS_FILE).with_name(ROW_IDS_FILE))]
    for name in stale:
        (output_dir / name).unlink(missing_ok=True)


def run_settings(model: ModelArguments, data: DataArguments, config: RunConfig) -> dict[str, Any]:
    """Return the content of `run_config.json`: what results are made with, and on which machine."""
    groups = (model, data, config)
    settings: dict[str, Any] = {name: _settings(group) for name, group in zip(GROUPS, groups, strict=True)}
    packages = ("lane_hf", "torch", "transformers", "accelerate", "datasets", "scikit-learn")
    # What the name of a method says already is no argument, but it belongs to what was done.
    settings["RunConfig"] |= METHODS[config.method].fixed
    settings["versions"] = {"python": platform.python_version(), **{name: _version(name) for name in packages}}
    # Noted now: from another folder, or another day, nobody can tell a relative path from an id of the Hub.
    named = {"model_name_or_path": model.model_name_or_path, "dataset": data.dataset}
    settings["local_paths"] = [name for name, value in named.items() if value and Path(value).exists()]
    settings["processes"] = config.world_size
    settings["hardware"] = hardware_in_words()
    return settings


def _settings(group: Any) -> dict[str, Any]:
    # TrainingArguments masks its tokens here.
    return group.to_dict() if hasattr(group, "to_dict") else dataclasses.asdict(group)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write an object as JSON; numbers that are not finite are null."""
    content = {name: None if _is_undefined(value) else value for name, value in content.items()}
    path.write_text(json.dumps(content, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")


def _is_undefined(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)  # json has no NaN
