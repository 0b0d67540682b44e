"""The arguments of the main job, from a command line or a configuration file."""

import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
import yaml
from transformers import HfArgumentParser

from .config import LaneConfig
from .errors import InputError

DEMO = "demo"
_CONFIG_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass
class ModelArguments:
    """Which encoder is fine-tuned."""

    model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "Hub id or folder. Default: all-MiniLM-L6-v2, the packaged copy if installed, else the Hub's."},
    )
    revision: str | None = field(default=None, metadata={"help": "Revision of the model on the Hub."})
    cache_dir: str | None = field(default=None, metadata={"help": "Where downloads are kept."})
    max_length: int = field(default=128, metadata={"help": "Longer texts are cut to so many tokens."})


@dataclass
class DataArguments:
    """What it is trained on, and how its labels are spoiled."""

    dataset: str | None = field(
        default=None,
        metadata={"help": "Name of a built-in data set, or a Hub id. Default: 'demo', unless train_file is given."},
    )
    data_dir: str | None = field(default=None, metadata={"help": "Folder with the files of the data set's release."})
    train_file: str | None = field(default=None, metadata={"help": "Training data: csv, tsv, json, jsonl or parquet."})
    validation_file: str | None = field(default=None, metadata={"help": "Validation data, likewise."})
    test_file: str | None = field(default=None, metadata={"help": "Test data, likewise; may have no labels."})
    text_column: str | None = field(default=None, metadata={"help": "Column of texts. Default: guessed."})
    label_column: str | None = field(default=None, metadata={"help": "Column of labels. Default: guessed."})
    max_train_samples: int | None = field(
        default=None,
        metadata={"help": "Train on so many rows only, drawn by the seed. Default: 4000 for 'demo', else all."},
    )
    label_noise: float | None = field(
        default=None,
        metadata={"help": "Share of the training labels to spoil, in [0, 1]. Default: 0.2 for 'demo', else 0."},
    )
    noise_kind: Literal["shuffle", "uniform", "pair"] = field(
        default="uniform", metadata={"help": "How labels are spoiled; validation and test stay as they are."}
    )
    noise_seed: int | None = field(default=None, metadata={"help": "Seed of the noise. Default: the seed of training."})


@dataclass
class RunConfig(LaneConfig):
    """LaneConfig with the defaults of the main job."""

    output_dir: str | None = field(default="lane_output", metadata={"help": "Where everything is written."})
    method: Literal["lane", "plain"] = field(
        default="lane", metadata={"help": "'lane', or 'plain' for ordinary fine-tuning on the same loop."}
    )
    learning_rate: float | None = field(
        default=None, metadata={"help": "Peak learning rate. Default: 1e-4 for the default model, else 3e-5."}
    )
    num_train_epochs: float = field(default=4.0, metadata={"help": "Number of training epochs."})
    per_device_train_batch_size: int = field(default=32, metadata={"help": "Training batch size per device."})
    per_device_eval_batch_size: int = field(default=128, metadata={"help": "Evaluation batch size per device."})
    warmup_steps: float = field(default=0.06, metadata={"help": "Warm-up steps; below 1: share of all steps."})
    weight_decay: float = field(default=0.01, metadata={"help": "Weight decay."})
    train_sampling_strategy: str = field(
        default="group_by_length", metadata={"help": "Order of the rows: random, sequential or group_by_length."}
    )
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate: no, steps or epoch."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to write checkpoints: no, steps or epoch."})
    save_total_limit: int | None = field(default=1, metadata={"help": "How many checkpoints are kept."})
    logging_steps: float = field(default=50, metadata={"help": "Steps between logs."})
    report_to: None | str | list[str] = field(default="none", metadata={"help": "Where to report, e.g. tensorboard."})
    bf16: bool | None = field(
        default=None, metadata={"help": "Train in bfloat16. Default: where the processor or GPU is faster in it."}
    )

    def __post_init__(self) -> None:
        """Settle steps, device and precision, then check everything else."""
        if not torch.accelerator.is_available():
            self.use_cpu = True  # Transformers wants this said before it trains in bfloat16 on a processor
        # Noted before TrainingArguments sets do_eval by itself. Without a choice, everything is done that can be.
        self.steps_chosen = self.do_train or self.do_eval or self.do_predict
        if not self.steps_chosen:
            self.do_train = self.do_eval = self.do_predict = True
        if self.bf16 is None:
            self.bf16 = not self.fp16 and not self.full_determinism and has_fast_bf16()
        super().__post_init__()


def has_fast_bf16() -> bool:
    """Return whether bfloat16 is done in hardware here."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.accelerator.is_available():
        return False
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


class _Parser(HfArgumentParser):
    """A parser whose errors are one line, without the usage of two hundred arguments."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}. See --help")


def parse(argv: Sequence[str] | None = None) -> tuple[ModelArguments, DataArguments, RunConfig]:
    """Parse the arguments of the main job.

    Args:
        argv: arguments; the first may be a yaml or json file, whose values later arguments override. None takes
            those of the process.

    Returns:
        The three groups of arguments.

    Raises:
        InputError: an argument is unknown or has a value that makes no sense.

    Example:
        >>> model, data, config = parse(["--dataset", "demo", "--seed", "7", "--bf16", "False"])
        >>> config.seed
        7
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = _Parser([ModelArguments, DataArguments, RunConfig], prog="run_lane.py", allow_abbrev=False)
    if argv and argv[0].lower().endswith(_CONFIG_SUFFIXES):
        _apply_file(parser, Path(argv.pop(0)))
    try:
        model, data, config, remaining = parser.parse_args_into_dataclasses(
            argv, return_remaining_strings=True, look_for_args_file=False
        )
    except InputError:
        raise
    except (ValueError, TypeError, ImportError) as error:
        raise InputError(" ".join(str(error).split())) from error
    if remaining:
        raise InputError(f"unknown argument {remaining[0]}{_guess(remaining[0].lstrip('-'), parser)}. See --help")
    _check(data, model)
    return model, data, config


def _apply_file(parser: HfArgumentParser, path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = path.read_text(encoding="utf-8")
        values = json.loads(content) if path.suffix.lower() == ".json" else yaml.safe_load(content)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected names and values, such as 'seed: 7'")
    known = _argument_names(parser)
    for name in values:
        if name not in known:
            raise InputError(f"{path}: unknown argument {name!r}{_guess(str(name), parser)}")
    parser.set_defaults(**{name: _as_argument(value) for name, value in values.items()})


def _as_argument(value: Any) -> Any:
    # As strings, so that argparse converts them as on the command line: yaml reads 1e-4 as a text.
    if isinstance(value, dict):
        return json.dumps(value)
    return value if value is None or isinstance(value, (bool, list)) else str(value)


def _argument_names(parser: HfArgumentParser) -> list[str]:
    return [action.dest for action in parser._actions]  # argparse has no public list of them


def _guess(name: str, parser: HfArgumentParser) -> str:
    close = difflib.get_close_matches(name.split("=")[0], _argument_names(parser), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _check(data: DataArguments, model: ModelArguments) -> None:
    if data.train_file is not None and data.dataset is not None:
        raise InputError("both dataset and train_file are given: leave one of them out")
    if data.train_file is None and (data.validation_file or data.test_file):
        raise InputError("validation_file and test_file need a train_file")
    if data.label_noise is not None and not 0 <= data.label_noise <= 1:
        raise InputError(f"label_noise must be in [0, 1], got {data.label_noise}")
    if data.max_train_samples is not None and data.max_train_samples < 1:
        raise InputError(f"max_train_samples must be at least 1, got {data.max_train_samples}")
    if model.max_length < 1:
        raise InputError(f"max_length must be at least 1, got {model.max_length}")
