"""What Trainer looks at only when it trains, asked before the main job has done any work."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import SchedulerType, Trainer, get_scheduler
from transformers.training_args import OptimizerNames

from .checkpoint_folders import checkpoints, stages
from .display import first_line, quoted
from .errors import InputError
from .metrics import METRICS
from .report.run_record import ISSUES_FILE
from .resume import what_is_missing
from .run_arguments import RunConfig

_STEPS = 100  # as good as any: whether a schedule can be made does not depend on it


def check_best_metric(config: RunConfig) -> None:
    """Raise `InputError` if the best model is to be chosen by a metric that evaluation does not give.

    Example:
        >>> from lane_hf.run_arguments import parse
        >>> check_best_metric(parse(["--metric_for_best_model", "f1_macro"])[2])
    """
    name = config.metric_for_best_model
    known = ("loss", *METRICS)
    if name is not None and name.removeprefix("eval_") not in known:
        raise InputError(f"metric_for_best_model {quoted(name)} is unknown: choose one of {', '.join(known)}")


def check_folder(config: RunConfig, model: str | None) -> None:
    """Ask what becomes of what an earlier training left in the folder.

    Warns if this training will replace its results or its checkpoints.

    Raises:
        InputError: the numbers of another model would be written beside them.
    """
    folder = Path(config.output_dir)
    done = (folder / ISSUES_FILE).exists()
    if config.do_train:
        if str(config.resume_from_checkpoint or False).lower() == "false" and config.process_index == 0:
            _warn_of_loss(folder, done)
        return
    if not done:
        return
    if model is None or not Path(model).exists() or not folder.samefile(model):
        raise InputError(
            f"output_dir {folder} holds the results of a training: give --model_name_or_path {folder} to evaluate its "
            "model, or choose another output_dir"
        )


def _warn_of_loss(folder: Path, done: bool) -> None:
    if done:
        warnings.warn(
            f"output_dir {folder} holds the results of a training: this one replaces them when it is done. To "
            "keep them, stop now and choose another output_dir",
            stacklevel=3,
        )
        return
    found = (path for each in (folder, *stages(folder)) for path in checkpoints(each))
    whole = next((path for path in found if what_is_missing(path) is None), None)
    if whole is not None:
        warnings.warn(
            f"output_dir {folder} holds {whole.relative_to(folder)} of a training that was not done, and this one "
            "begins anew. To go on with that one, stop now and give --resume_from_checkpoint True",
            stacklevel=3,
        )


def check_head(name: str, report: dict[str, Any], known: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise `InputError` if a model that will not be trained was not trained for these labels.

    Args:
        name: the model.
        report: what Transformers found when it loaded the model.
        known: the names of its labels; those that Transformers makes up fit any.
        wanted: those of the data.
    """
    if report["missing_keys"] or report["mismatched_keys"] or len(known) != len(wanted):
        raise InputError(
            f"the model {name!r} has no head for {len(wanted)} labels: train it first (--do_train), or give the "
            "folder of one that was trained on them"
        )
    if all(label.lower() == f"label_{index}" for index, label in enumerate(known)):
        return
    for index, (own, given) in enumerate(zip(known, wanted, strict=True)):
        if own != given:
            raise InputError(
                f"the model {name!r} was trained for other labels: its label {index} is {quoted(own)}, that of the "
                f"data is {quoted(given)}"
            )


def check_optimizer(config: RunConfig, model: Any) -> None:
    """Raise `InputError` if the optimizer or the schedule of the learning rate cannot be made.

    Args:
        config: the arguments.
        model: what is trained; some optimizers look for layers in it.
    """
    if not config.do_train:
        return
    try:
        Trainer.get_optimizer_cls_and_kwargs(config, model)
    except (ImportError, ValueError, TypeError, RuntimeError) as error:
        name = OptimizerNames(config.optim).value
        raise InputError(f"the optimizer {name} cannot be made: {first_line(error)}") from error
    any_optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    try:
        schedule = get_scheduler(
            config.lr_scheduler_type,
            any_optimizer,
            num_warmup_steps=config.get_warmup_steps(_STEPS),
            num_training_steps=_STEPS,
            scheduler_specific_kwargs=config.lr_scheduler_kwargs,
        )
        for step in range(_STEPS):  # a wrong option may show after the warm-up only
            for rate in getattr(schedule, "lr_lambdas", ()):
                rate(step)
    except (ValueError, TypeError) as error:
        name = SchedulerType(config.lr_scheduler_type).value
        raise InputError(f"lr_scheduler_type {name} cannot be made: {first_line(error)}") from error
