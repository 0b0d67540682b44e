"""The main job as functions: train, evaluate, write."""

import gc
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import datasets
import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset, DatasetDict
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from .baselines.staged import StagedTrainer
from .display import first_line, warnings_in_words
from .displays import show_with
from .errors import CheckpointError, HubError, InputError
from .hub.card import render
from .methods import METHODS
from .metrics import DetectionMetrics, compute_metrics, first_output
from .noise import FLIPPED_COLUMN
from .packaged_model import HUB_ID, default_model
from .report.run_record import ISSUES_FILE, read_metrics, write_issues
from .resumable_trainer import disk_errors_named
from .resume import check_checkpoint, last_whole_checkpoint
from .row_trainer import RowTrainer
from .run_arguments import DataArguments, ModelArguments, RunConfig, parse
from .run_card import facts_of_run
from .run_checks import check_best_metric, check_folder, check_head, check_optimizer
from .run_data import given_distances, make_collator, noise_rate, prepare_data
from .run_files import emissions_noted, make_output_dir, remove_earlier, run_settings, write_json
from .run_progress import RunProgress
from .summary import printable, summarise
from .tokenisation import tokenise

if TYPE_CHECKING:
    from .report.label_issues import LabelIssues


class Result(NamedTuple):
    """What a run has produced.

    Attributes:
        metrics: flat, as in `metrics.json`.
        issues: the table of label issues, or None without training.
        texts: the training texts by row id, for showing rows to the user.
        output_dir: where everything lies.
    """

    metrics: dict[str, float]
    issues: "LabelIssues | None"
    texts: Sequence[str]
    output_dir: Path


def main(argv: Sequence[str] | None = None, program: str = "run_lane.py") -> int:
    """Run the main job from a command line.

    Args:
        argv: arguments; None takes those of the process.
        program: what the help calls the program.

    Returns:
        The exit status: 0; 1 if something could not be written; 2 if what the user gave is wrong. The message goes to
        standard error, in one line.

    Example:
        >>> main(["--train_file", "rows.csv", "--output_dir", "out"])  # doctest: +SKIP
        0
    """
    if not sys.stderr.isatty():  # bars are for people
        transformers_logging.disable_progress_bar()
        datasets.disable_progress_bars()
    try:
        with warnings_in_words():
            model_args, data_args, config = parse(argv, program)
            result = run(model_args, data_args, config)
    except InputError as error:
        _say(f"error: {printable(str(error))}", sys.stderr)
        return 2
    except (CheckpointError, HubError) as error:
        _say(f"error: {printable(str(error))}", sys.stderr)
        return 1
    if config.process_index == 0:
        _say(summarise(result.metrics, result.issues, result.texts, result.output_dir, config.method), sys.stdout)
    _part_from_other_processes()
    return 0


def _part_from_other_processes() -> None:
    # The connection's threads end with its last user, the trainer. One that is alive while Python shuts down can abort
    # the process after all work is done (pytorch/pytorch#179291), and on GPUs a warning complains.
    gc.collect()
    PartialState().destroy_process_group()


def _say(text: str, stream: TextIO) -> None:
    # Texts are in any language, terminals are not.
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)


def run(model_args: ModelArguments, data_args: DataArguments, config: RunConfig) -> Result:
    """Train, evaluate and predict as the arguments say, and write everything into `config.output_dir`.

    Written are the checkpoint, `metrics.json`, `label_issues.parquet`, `predictions.csv` and `run_config.json`, and in
    `_report` what reports need besides, such as the texts.

    Raises:
        InputError: an argument, a file or a data set is wrong.
        CheckpointError: a checkpoint or a result could not be written.
        HubError: the Hub refused, or could not be reached.

    Example:
        >>> result = run(*parse(["--train_file", "rows.csv"]))  # doctest: +SKIP
        >>> result.metrics["train_loss"], len(result.issues)  # doctest: +SKIP
    """
    use_all_cores(config)
    check_best_metric(config)
    data = prepare_data(data_args, config)
    output_dir = make_output_dir(config)
    check_folder(config, model_args.model_name_or_path)
    earlier = {} if config.do_train else read_metrics(output_dir)
    emissions = emissions_noted(output_dir)
    checkpoint = find_checkpoint(config)
    _settle_defaults(model_args, data_args, config)
    _announce(config)
    set_seed(config.seed)
    tokenizer, model = load_model(model_args, data["train"].features["label"].names, as_it_is=not config.do_train)
    check_optimizer(config, model)
    with config.main_process_first(desc="tokenising"):
        tokenised = tokenise(
            data,
            tokenizer,
            model_args.max_length,
            num_proc=data_args.dataset_num_proc,
            # The others of a machine come after the first one, and read what it has made.
            overwrite_cache=data_args.overwrite_cache and config.local_process_index == 0,
        )
    trainer = _make_trainer((model_args, data_args, config), tokenizer, model, tokenised)
    settings = run_settings(model_args, data_args, config)
    with disk_errors_named(f"the results in {output_dir}", output_dir), RunProgress(config.disable_tqdm) as progress:
        show_with(trainer, [progress])
        distances = given_distances(data_args, data["train"])
        metrics, issues = _train(trainer, data["train"], checkpoint, emissions)
        if trainer.is_world_process_zero() and (issues is not None or not (output_dir / ISSUES_FILE).exists()):
            # Not before: a run that is interrupted must not claim an earlier one's results in the same folder.
            write_json(output_dir / "run_config.json", settings)
            if issues is not None:
                write_issues(output_dir, issues, distances)
        if config.do_eval:
            metrics |= _plain(trainer.evaluate(metric_key_prefix="eval"))
        if config.do_predict:
            metrics |= _predict(trainer, tokenised["test"], output_dir)
        if trainer.is_world_process_zero():
            write_json(output_dir / "metrics.json", earlier | metrics)
    if config.push_to_hub:
        trainer.push_to_hub(card=render(facts_of_run(output_dir, trainer.hub_model_id)))
    return Result(metrics, issues, data["train"]["text"], output_dir)


# ---- Model and settings ----


def load_model(
    args: ModelArguments, label_names: Sequence[str], as_it_is: bool = False
) -> tuple[PreTrainedTokenizerBase, Any]:
    """Load tokenizer and classifier for the given labels; the head is fresh unless it has as many labels already.

    Args:
        args: which model.
        label_names: the labels, in the order of their numbers.
        as_it_is: it will not be trained, so it must have a head for these labels.

    Raises:
        InputError: the model cannot be found, is damaged, is no text encoder with a tokenizer, or is to be used as it
            is and has no head for these labels.

    Example:
        >>> tokenizer, model = load_model(ModelArguments("bert-base-uncased"), ["no", "yes"])  # doctest: +SKIP
    """
    name = args.model_name_or_path or default_model()
    # Said outright, because Transformers asks at the terminal otherwise.
    where = {"revision": args.revision or "main", "cache_dir": args.cache_dir, "trust_remote_code": False}
    if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        raise InputError(f"the folder {name} holds no model: it has no config.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **where)
        if len(tokenizer) <= len(tokenizer.all_special_tokens):  # what Transformers makes of a missing file
            raise OSError("it has no tokenizer")
        model, report = AutoModelForSequenceClassification.from_pretrained(
            name,
            num_labels=len(label_names),
            id2label=dict(enumerate(label_names)),
            label2id={label: index for index, label in enumerate(label_names)},
            problem_type="single_label_classification",
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **where,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        hint = "" if Path(name).exists() else " (there is no folder of this name)"
        raise InputError(f"the model {name!r} cannot be loaded{hint}: {first_line(error)}") from error
    _check_encoder(name, model, report)
    if as_it_is:
        known = AutoConfig.from_pretrained(name, **where).id2label
        check_head(name, report, [known[index] for index in sorted(known)], label_names)
    return tokenizer, model


def _check_encoder(name: str, model: Any, report: dict[str, Any]) -> None:
    # Transformers makes up what is missing and goes on: right for a head, but not for an encoder.
    encoder = {key for key in model.state_dict() if key.startswith(f"{model.base_model_prefix}.")}
    mismatched = sorted(encoder.intersection(key for key, *_ in report["mismatched_keys"]))
    if mismatched:
        raise InputError(f"the model {name!r} is damaged: {mismatched[0]} has another size than config.json says")
    if encoder and encoder <= set(report["missing_keys"]):
        raise InputError(f"the model {name!r} is damaged: its weights are those of another kind of model")


def _settle_defaults(model: ModelArguments, data: DataArguments, config: RunConfig) -> None:
    if config.learning_rate is None:
        config.learning_rate = 1e-4 if model.model_name_or_path in (None, HUB_ID) else 3e-5
    data.label_noise = noise_rate(data)
    data.noise_seed = config.seed if data.noise_seed is None else data.noise_seed


def use_all_cores(config: RunConfig) -> None:
    """Undo what launchers do on a processor: `accelerate launch` and `torchrun` leave each process one thread.

    The cores are shared among the processes of the machine. A number of threads above one that was asked for (with
    OMP_NUM_THREADS or --num_cpu_threads_per_process) is kept.
    """
    launched = "ACCELERATE_USE_CPU" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ
    if config.device.type == "cpu" and launched and os.environ.get("OMP_NUM_THREADS") == "1":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def _announce(config: RunConfig) -> None:
    if config.process_index == 0:
        number = config.world_size
        precision = ", bf16" if config.bf16 else ", fp16" if config.fp16 else ""
        if config.device.type == "cpu":
            precision += f", {torch.get_num_threads()} threads"
        processes = f"{number} process{'es' if number > 1 else ''}"
        _say(f"Training with {config.method} on {processes} ({config.device.type}{precision})", sys.stdout)


def _make_trainer(
    groups: tuple[ModelArguments, DataArguments, RunConfig],
    tokenizer: PreTrainedTokenizerBase,
    model: Any,
    data: DatasetDict,
) -> RowTrainer:
    model_args, data_args, config = groups
    kind = METHODS[config.method].trainer
    names = list(model.config.id2label.values())
    stages = issubclass(kind, StagedTrainer)
    try:
        return kind(
            model=None if stages else model,
            model_init=(lambda: load_model(model_args, names)[1]) if stages else None,
            args=config,
            train_dataset=data["train"],
            eval_dataset=data.get("validation"),
            processing_class=tokenizer,
            data_collator=make_collator(data_args, tokenizer, model_args.max_length, config.seed),
            compute_metrics=compute_metrics,
        )
    except (InputError, HubError):
        raise
    except (OSError, ValueError, ImportError, RuntimeError) as error:  # such as report_to without the package for it
        raise InputError(f"the trainer cannot be set up: {first_line(error)}") from error


# ---- Steps ----


def _train(
    trainer: RowTrainer, rows: Dataset, checkpoint: str | bool | None, emissions: int | None
) -> tuple[dict[str, float], "LabelIssues | None"]:
    config = trainer.args
    if not config.do_train:
        return {}, None
    outcome = trainer.train(resume_from_checkpoint=checkpoint)
    if trainer.stopped_at_signal:
        done, asked = trainer.state.global_step, trainer.state.max_steps
        raise CheckpointError(
            f"a signal stopped the training at step {done} of {asked}: go on with --resume_from_checkpoint True"
        )
    if trainer.is_world_process_zero():
        # From here on the folder holds the results of this run or none: the table, written last, says that it is done.
        remove_earlier(Path(config.output_dir), config, emissions)
    metrics = _plain(outcome.metrics)
    trainer.save_model(_internal_call=True)  # pushed at the end: a network that is down must not cost the table
    trainer.save_state()
    issues = trainer.label_issues()
    if FLIPPED_COLUMN in rows.column_names:
        flipped = np.asarray(rows[FLIPPED_COLUMN])
        issues[FLIPPED_COLUMN] = flipped[issues["row_id"].to_numpy()]
        metrics |= detection_metrics(issues)
    return metrics, issues


def detection_metrics(issues: "LabelIssues") -> dict[str, float]:
    """Score a table of label issues against its column `is_flipped`.

    Returns:
        `detection_auroc`, `detection_average_precision`, `detection_precision_at_5_percent`; areas that are undefined
        (no flipped row, or only such) are left out.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"score": [-2.0, 1.0, 3.0], "is_flipped": [True, False, False]})
        >>> detection_metrics(table)["detection_auroc"]
        1.0
    """
    highest = issues["score"].max()  # rows that were never seen are not suspicious; NaN if none was seen
    suspicion = -issues["score"].fillna(0.0 if math.isnan(highest) else highest)
    scores = DetectionMetrics().compute(predictions=suspicion, references=issues[FLIPPED_COLUMN].astype(int))
    return {f"detection_{name}": value for name, value in scores.items() if not math.isnan(value)}


def find_checkpoint(config: RunConfig) -> str | bool | None:
    """Return the folder that training continues from, if it shall; True where a method has to find the stage first.

    Raises:
        InputError: there is no such folder, or it is no whole checkpoint of this package.
    """
    wanted = str(config.resume_from_checkpoint or False)
    if wanted.lower() == "false" or not config.do_train:
        return None
    if wanted.lower() == "true" and issubclass(METHODS[config.method].trainer, StagedTrainer):
        StagedTrainer.check_resumable(config.output_dir)
        return True
    if wanted.lower() == "true":
        return str(last_whole_checkpoint(config.output_dir))
    check_checkpoint(wanted)
    return wanted


def _predict(trainer: RowTrainer, test: Dataset, output_dir: Path) -> dict[str, float]:
    output = trainer.predict(test, metric_key_prefix="test")
    if trainer.is_world_process_zero():
        import pandas as pd

        probs = torch.as_tensor(first_output(output.predictions)).float().softmax(dim=1)
        confidence, predicted = probs.max(dim=1)
        labels = trainer.model.config.id2label
        table = {"row": range(len(test)), "label": [labels[i] for i in predicted.tolist()], "confidence": confidence}
        pd.DataFrame(table).to_csv(output_dir / "predictions.csv", index=False)
    return _plain(output.metrics)


def _plain(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if isinstance(value, (int, float))}
