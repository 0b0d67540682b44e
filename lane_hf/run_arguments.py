"""The arguments of the main job, from a command line or a configuration file."""

import functools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

import torch

from .config_file import CONFIG_SUFFIXES, read_config
from .display import excerpt, hidden_tokens, one_line, quoted
from .errors import InputError, naming
from .method_config import MethodConfig
from .methods import METHODS, Method, method_of
from .run_parser import RunParser, argument_names, guess

DEMO = "demo"
_CLASS_PREFIX = "RunConfig_"


@dataclass
class ModelArguments:
    """Which encoder is fine-tuned."""

    model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "Hub id or folder. Default: all-MiniLM-L6-v2, packaged if installed, else from the Hub."},
    )
    revision: str | None = field(default=None, metadata={"help": "Revision of the model on the Hub."})
    cache_dir: str | None = field(default=None, metadata={"help": "Where downloads are kept."})
    max_length: int = field(
        default=128, metadata={"help": "Longer texts are cut to so many tokens, or to the model's limit."}
    )


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
        metadata={"help": "Train on so many rows only, drawn by the seed. Default: 2500 for 'demo', else all."},
    )
    dataset_num_proc: int | None = field(
        default=None, metadata={"help": "Processes that tokenise. Default: this one, on all cores."}
    )
    overwrite_cache: bool = field(
        default=False, metadata={"help": "Tokenise again, even if an earlier run kept the token ids."}
    )
    label_noise: float | None = field(
        default=None,
        metadata={"help": "Share of the training labels to spoil, in [0, 1]. Default: 0.2 for 'demo', else 0."},
    )
    noise_kind: Literal["shuffle", "uniform", "pair", "semantic"] = field(
        default="uniform", metadata={"help": "How labels are spoiled; validation and test stay as they are."}
    )
    noise_gamma: float = field(default=1.0, metadata={"help": "How strongly semantic noise prefers near labels."})
    label_geometry: Literal["ordinal", "plutchik"] | None = field(
        default=None, metadata={"help": "Distances of the labels, for semantic noise. Default: those of the data set."}
    )
    label_order: list[str] | None = field(
        default=None,
        metadata={"help": "Labels from the lowest to the highest, for label_geometry=ordinal; numbers need none."},
    )
    noise_seed: int | None = field(default=None, metadata={"help": "Seed of the noise. Default: the training's seed."})
    augmentation: Literal["none", "synonym", "switchout", "columns"] = field(
        default="none",
        metadata={"help": "Views of each training row: synonyms, SwitchOut, or texts in view_columns of train_file."},
    )
    num_views: int = field(default=7, metadata={"help": "Views per row, besides the row (each costs as much)."})
    augmentation_rate: float = field(default=0.1, metadata={"help": "Share of the words that synonyms replace."})
    augmentation_temperature: float = field(default=1.0, metadata={"help": "Temperature of SwitchOut."})
    view_columns: list[str] | None = field(
        default=None, metadata={"help": "Columns of texts that are views of the row, for augmentation='columns'."}
    )


if TYPE_CHECKING:
    _AnyMethod = MethodConfig
else:
    _AnyMethod = object


@dataclass
class RunConfig(_AnyMethod):
    """The defaults of the main job, for the arguments of any method.

    [`run_config_class`] makes of it the class of one method's arguments.
    """

    output_dir: str = field(default="lane_output", metadata={"help": "Where everything is written."})
    method: str = field(
        default="lane", metadata={"help": f"How to train: {', '.join(METHODS)}. Each has options of its own."}
    )
    learning_rate: float | None = field(
        default=None, metadata={"help": "Peak learning rate. Default: 1e-4 for the default model, else 3e-5."}
    )
    num_train_epochs: float = field(default=4.0, metadata={"help": "Number of training epochs."})
    per_device_train_batch_size: int = field(default=32, metadata={"help": "Training batch size per device."})
    per_device_eval_batch_size: int = field(default=128, metadata={"help": "Evaluation batch size per device."})
    warmup_steps: float = field(default=0.06, metadata={"help": "Warm-up steps; below 1: share of all steps."})
    weight_decay: float = field(default=0.01, metadata={"help": "Weight decay."})
    train_sampling_strategy: Literal["random", "sequential", "group_by_length"] = field(
        default="group_by_length", metadata={"help": "Order of the rows."}
    )
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate: no, steps or epoch."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to write checkpoints: no, steps or epoch."})
    save_total_limit: int | None = field(default=1, metadata={"help": "How many checkpoints are kept."})
    logging_steps: float = field(default=50, metadata={"help": "Steps between logs."})
    report_to: None | str | list[str] = field(  # noqa: RUF036 -- HfArgumentParser cannot read it with None at the end
        default="none", metadata={"help": "Where to report, e.g. tensorboard."}
    )
    do_train: bool = field(
        default=False, metadata={"help": "Train. Without any of do_train, do_eval, do_predict: all."}
    )
    do_eval: bool = field(default=False, metadata={"help": "Evaluate on the validation data."})
    do_predict: bool = field(default=False, metadata={"help": "Predict the test data, into predictions.csv."})
    resume_from_checkpoint: str | None = field(
        default=None, metadata={"help": "Checkpoint to go on from, or True for the newest whole one in output_dir."}
    )
    bf16: bool | None = field(
        default=None, metadata={"help": "Train in bfloat16. Default: where the processor or GPU is faster in it."}
    )

    def __post_init__(self) -> None:
        """Settle steps, device and precision, then check everything else."""
        if not torch.accelerator.is_available():
            self.use_cpu = True  # Transformers wants this said before it trains in bfloat16 on a processor
        # Noted before TrainingArguments sets do_eval by itself. Without a choice, everything is done that can be.
        self.steps_chosen = {step for step in ("do_train", "do_eval", "do_predict") if getattr(self, step)}
        if not self.steps_chosen:
            self.do_train = self.do_eval = self.do_predict = True
        if self.bf16 is None:
            self.bf16 = not self.fp16 and not self.full_determinism and has_fast_bf16()
        super().__post_init__()


def has_fast_bf16() -> bool:
    """Return whether bfloat16 is done in hardware here.

    Example:
        >>> has_fast_bf16()  # doctest: +SKIP
        False
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.accelerator.is_available():
        return False
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


@functools.cache
def run_config_class(method: str) -> type[RunConfig]:
    """Return the class of the main job's arguments for a method.

    Raises:
        InputError: there is no such method.

    Example:
        >>> run_config_class("aum")(output_dir="out").percentile
        99.0
    """
    chosen = method_of(method)
    help_text = RunConfig.__dataclass_fields__["method"].metadata
    own: dict[str, Any] = {"method": (str, field(default=method, metadata=help_text))}
    for name, value in chosen.fixed.items():
        own[name] = (str, field(default=value, init=False))  # the parser leaves such fields out
    body = {name: default for name, (_, default) in own.items()}
    body |= {"__annotations__": {name: kind for name, (kind, _) in own.items()}, "__module__": __name__}
    body["__doc__"] = f"Arguments of the main job with the method {method}."
    return dataclass(type(f"{_CLASS_PREFIX}{method}", (RunConfig, chosen.config), body))


def __getattr__(name: str) -> Any:
    # Trainer pickles its arguments, and whoever reads them looks their class up by name.
    if name.removeprefix(_CLASS_PREFIX) in METHODS and name.startswith(_CLASS_PREFIX):
        return run_config_class(name.removeprefix(_CLASS_PREFIX))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def parse(
    argv: Sequence[str] | None = None, program: str = "run_lane.py"
) -> tuple[ModelArguments, DataArguments, RunConfig]:
    """Parse the arguments of the main job.

    Args:
        argv: arguments; the first may be a yaml or json file, whose values later arguments override. None takes
            those of the process.
        program: what the help calls the program.

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
    path = None
    if argv and not argv[0].startswith("-") and argv[0].lower().endswith(CONFIG_SUFFIXES):
        path = Path(argv.pop(0))
    values = {} if path is None else read_config(path)
    method = _method(argv, values, path)
    parser = RunParser(ModelArguments, DataArguments, run_config_class(method.name), method, program)
    if path is not None:
        _apply_values(parser, path, values)
    try:
        model, data, config, remaining = parser.parse_args_into_dataclasses(
            argv, return_remaining_strings=True, look_for_args_file=False
        )
    except InputError:
        raise
    except Exception as error:  # Transformers and Accelerate check values each in its own way, also by opening files
        raise InputError(one_line(str(error) or type(error).__name__)) from error
    if remaining:
        meant = guess(remaining[0].lstrip("-"), parser)
        given = remaining[0].partition("=")[0] if "token" in remaining[0] + meant else remaining[0]
        raise InputError(f"unknown argument {hidden_tokens(excerpt(given))}{meant}. See --help")
    _check(data, model, config)
    return model, data, config


def _method(argv: Sequence[str], values: Mapping[Any, Any], path: Path | None) -> Method:
    """Return the method that the command line or the file names; it decides which arguments there are."""
    given = _method_in(argv)
    if given is not None:
        return method_of(given)
    in_file = values.get("method", "lane")
    if in_file is None or isinstance(in_file, (list, dict)):  # refused later, with the other values of the file
        return method_of("lane")
    with naming(path):
        return method_of(str(in_file))


def _method_in(argv: Sequence[str]) -> str | None:
    found = None
    for position, argument in enumerate(argv):
        if argument == "--method" and position + 1 < len(argv):
            found = argv[position + 1]
        elif argument.startswith("--method="):
            found = argument.partition("=")[2]
    return found


def _apply_values(parser: RunParser, path: Path, values: dict[Any, Any]) -> None:
    known = argument_names(parser)
    for name in values:
        if name not in known:
            shown = quoted(name) if isinstance(name, str) else excerpt(repr(name))
            raise InputError(f"{path}: unknown argument {hidden_tokens(shown)}{guess(str(name), parser)}")
    try:
        defaults = {name: _convert(parser, name, value) for name, value in values.items()}
    except (TypeError, ValueError, RecursionError) as error:  # of the values or of writing them as json
        raise InputError(f"{path}: {one_line(str(error))}") from error
    parser.set_defaults(**defaults)


def _convert(parser: RunParser, name: str, value: Any) -> Any:
    """Convert and check a value of a file as the command line does: yaml, for one, reads 1e-4 as a text."""
    types = next(hints[name] for hints in map(get_type_hints, parser.groups) if name in hints)
    if value is None:
        if type(None) not in get_args(types):
            raise InputError(f"{name} needs a value")
        return None
    if value is False and name.endswith("_strategy"):
        value = "no"  # yaml reads a bare `no` as false
    if isinstance(value, list):
        is_list = next(action.nargs for action in parser._actions if action.dest == name) == "+"
        if not is_list and not any("list" in str(each) for each in get_args(types)):
            raise InputError(
                f"{name} takes one value, got the list {excerpt(str(value)) if name != 'hub_token' else '...'}"
            )
        if not is_list:
            return value
        arguments = [f"--{name}", *map(str, value)]
    else:
        arguments = [f"--{name}={json.dumps(value, default=str) if isinstance(value, dict) else value}"]
    return getattr(parser.parse_known_args(arguments)[0], name)


def _check(data: DataArguments, model: ModelArguments, config: RunConfig) -> None:
    if data.train_file is not None and data.dataset is not None:
        raise InputError("both dataset and train_file are given: leave one of them out")
    if data.train_file is None and (data.validation_file or data.test_file):
        raise InputError("validation_file and test_file need a train_file")
    if data.label_noise is not None and not 0 <= data.label_noise <= 1:
        raise InputError(f"label_noise must be in [0, 1], got {data.label_noise}")
    counts = {
        "max_train_samples": data.max_train_samples,
        "dataset_num_proc": data.dataset_num_proc,
        "max_length": model.max_length,
        "per_device_train_batch_size": config.per_device_train_batch_size,
        "per_device_eval_batch_size": config.per_device_eval_batch_size,
    }
    for name, count in counts.items():
        if count is not None and count < 1:
            raise InputError(f"{name} must be at least 1, got {count}")
    if not (config.num_train_epochs > 0 or config.max_steps > 0):
        raise InputError(f"num_train_epochs must be above 0, got {config.num_train_epochs:g}")
    if config.learning_rate is not None and not config.learning_rate >= 0:
        raise InputError(f"learning_rate must not be negative, got {config.learning_rate}")
