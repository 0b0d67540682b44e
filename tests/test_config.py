"""LaneConfig: a command line, the paper's values, taking over other arguments, and every value that makes no sense."""

import copy
import json
import math
import pickle
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from transformers import HfArgumentParser, Seq2SeqTrainingArguments, TrainingArguments

from lane_hf.config import LaneConfig
from lane_hf.errors import InputError

QUIET = {"report_to": [], "use_cpu": True}
THEIRS = {each.name for each in fields(TrainingArguments)}
OURS = [each for each in fields(LaneConfig) if each.name not in THEIRS]


def make(tmp_path: Path, **options: Any) -> LaneConfig:
    return LaneConfig(output_dir=str(tmp_path), **{**QUIET, **options})


# ----------------------------------------------------------------------------------------------------- command line
@pytest.mark.parametrize("each", OURS, ids=lambda each: each.name)
def test_every_field_has_a_default_and_a_help_text(each: Any) -> None:
    assert each.default is not MISSING
    assert len(each.metadata["help"]) > 20
    assert each.metadata["help"].endswith(".")


def test_every_choice_is_explained() -> None:
    hints = get_type_hints(LaneConfig)
    chosen = [each for each in OURS if get_origin(hints[each.name]) is Literal]
    assert len(chosen) == 7
    for each in chosen:
        for choice in get_args(hints[each.name]):
            assert f"'{choice}'" in each.metadata["help"], (each.name, choice)


def parse(tmp_path: Path, *words: str) -> LaneConfig:
    words = ("--output_dir", str(tmp_path), "--use_cpu", "--report_to", "none", *words)
    return HfArgumentParser(LaneConfig).parse_args_into_dataclasses(list(words))[0]


def test_the_command_line_without_words_gives_the_defaults(tmp_path: Path) -> None:
    parsed = parse(tmp_path)
    assert {each.name: getattr(parsed, each.name) for each in OURS} == {each.name: each.default for each in OURS}


def test_the_command_line_sets_every_field(tmp_path: Path) -> None:
    words = {
        "auxiliary": ("shared", "shared"),
        "reweight": ("False", False),
        "label_aware": ("false", False),
        "weighting": ("gaussian", "gaussian"),
        "statistics": ("batch", "batch"),
        "threshold": ("-0.5", -0.5),
        "weighting_warmup": ("0.25", 0.25),
        "weighting_warmup_steps": ("7", 7),
        "wait_for_labels": ("false", False),
        "bootstrap": ("prediction", "prediction"),
        "similarity": ("class", "class"),
        "aux_smoothing": ("0", 0.0),
        "contrastive": ("lcl", "lcl"),
        "contrastive_weight": ("2", 2.0),
        "contrastive_schedule": ("constant", "constant"),
        "contrastive_min_steps": ("7", 7),
        "temperature": ("0.7", 0.7),
        "aux_contrastive_grad": ("True", True),
        "auxiliary_on_views": ("True", True),
        "gather_across_devices": ("True", True),
        "check_replicas": ("True", True),
        "margin_history": ("True", True),
        "weight_averaging": ("0.5", 0.5),
    }
    assert words.keys() == {each.name for each in OURS}
    parsed = parse(tmp_path, *(text for name, (word, _) in words.items() for text in (f"--{name}={word}",)))
    for name, (_, value) in words.items():
        assert getattr(parsed, name) == value
        assert type(getattr(parsed, name)) is type(value)
        assert value != LaneConfig.__dataclass_fields__[name].default


def test_flags_need_no_value(tmp_path: Path) -> None:
    parsed = parse(tmp_path, "--no_reweight", "--aux_contrastive_grad", "--no_label_aware")
    assert (parsed.reweight, parsed.aux_contrastive_grad, parsed.label_aware) == (False, True, False)


def test_the_command_line_refuses_other_choices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(tmp_path, "--auxiliary", "both")
    assert "invalid choice: 'both'" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------ paper
def test_the_paper_differs_from_the_defaults_where_it_should(tmp_path: Path) -> None:
    paper = LaneConfig.paper(output_dir=str(tmp_path), **QUIET)
    different = {each.name: getattr(paper, each.name) for each in OURS if getattr(paper, each.name) != each.default}
    assert different == {
        "auxiliary": "full",
        "bootstrap": "none",
        "weighting": "gaussian",
        "weighting_warmup": 0.0,
        "weighting_warmup_steps": 0,
        "wait_for_labels": False,
        "contrastive": "lscl",
        "contrastive_weight": 1.0,
        "contrastive_min_steps": 0,
        "contrastive_schedule": "constant",
        "aux_contrastive_grad": True,
    }


def test_one_can_depart_from_the_paper(tmp_path: Path) -> None:
    paper = LaneConfig.paper(output_dir=str(tmp_path), statistics="batch", reweight=False, learning_rate=0.5, **QUIET)
    assert (paper.statistics, paper.reweight, paper.learning_rate) == ("batch", False, 0.5)
    assert paper.weighting == "gaussian"


# -------------------------------------------------------------------------------------------------- other arguments
@dataclass
class MoreArguments(Seq2SeqTrainingArguments):
    """As a user may write them: a default that is made anew, and a method of their own."""

    stages: list[str] = field(default_factory=lambda: ["one"])
    rank: int = 8

    def doubled_rank(self) -> int:
        return 2 * self.rank


@pytest.mark.parametrize("kind", [TrainingArguments, MoreArguments])
def test_taking_over_other_arguments_keeps_every_value(tmp_path: Path, kind: type[TrainingArguments]) -> None:
    args = kind(output_dir=str(tmp_path), learning_rate=0.125, seed=7, num_train_epochs=2, **QUIET)
    before = dict(vars(args))
    config = LaneConfig.from_training_arguments(args)
    assert type(config) is LaneConfig
    assert vars(args) == before
    for name, value in before.items():
        assert getattr(config, name) is value, name
    for each in OURS:
        assert getattr(config, each.name) == each.default
    assert config.device == args.device
    assert config.get_warmup_steps(100) == args.get_warmup_steps(100)
    # It is a whole configuration: it can be shown, stored and copied.
    assert json.loads(config.to_json_string())["temperature"] == 0.3
    assert "weighting='posterior'" in str(config) or "weighting=posterior" in str(config)
    assert pickle.loads(pickle.dumps(config)).seed == 7  # noqa: S301
    assert copy.deepcopy(config).auxiliary == "none"


def test_fields_of_a_subclass_survive(tmp_path: Path) -> None:
    args = MoreArguments(output_dir=str(tmp_path), predict_with_generate=True, rank=4, **QUIET)
    config = LaneConfig.from_training_arguments(args)
    assert config.predict_with_generate is True
    assert config.rank == 4
    assert config.stages is args.stages


def test_initialisation_is_not_done_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = TrainingArguments(output_dir=str(tmp_path), **QUIET)

    def never(self: Any) -> None:
        raise AssertionError("initialised a second time")

    monkeypatch.setattr(TrainingArguments, "__post_init__", never)
    assert LaneConfig.from_training_arguments(args).output_dir == str(tmp_path)


def test_a_lane_config_is_returned_as_it_is(tmp_path: Path) -> None:
    class Special(LaneConfig):
        pass

    for config in (make(tmp_path, temperature=0.5), Special(output_dir=str(tmp_path), **QUIET)):
        assert LaneConfig.from_training_arguments(config) is config


# ---------------------------------------------------------------------------------------------------------- neutral
@pytest.mark.parametrize("reweight", [True, False])
@pytest.mark.parametrize("contrastive", ["none", "scl"])
@pytest.mark.parametrize("auxiliary", ["none", "shared", "full"])
def test_neutral_is_without_all_three(tmp_path: Path, reweight: bool, contrastive: str, auxiliary: str) -> None:
    config = make(tmp_path, reweight=reweight, contrastive=contrastive, auxiliary=auxiliary)
    assert config.is_neutral == (not reweight and contrastive == "none" and auxiliary == "none")


# ------------------------------------------------------------------------------------------------------- bad values
BAD_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"auxiliary": "both"}, "auxiliary='both' is unknown: choose one of full, shared, none"),
    ({"weighting": "linear"}, "weighting='linear' is unknown: choose one of posterior, mixture, gaussian"),
    ({"statistics": "class"}, "statistics='class' is unknown: choose one of dataset, batch"),
    ({"similarity": None}, "similarity=None is unknown: choose one of sample, class"),
    ({"contrastive": "LSCL"}, "contrastive='LSCL' is unknown: choose one of lscl, scl, lcl, none"),
    ({"aux_smoothing": -0.1}, "aux_smoothing must be in [0, 1), got -0.1"),
    ({"aux_smoothing": 1.0}, "aux_smoothing must be in [0, 1), got 1.0"),
    ({"aux_smoothing": math.nan}, "aux_smoothing must be in [0, 1), got nan"),
    ({"temperature": 0.0}, "temperature must be a finite number above 0, got 0.0"),
    ({"temperature": math.nan}, "temperature must be a finite number above 0, got nan"),
    ({"temperature": math.inf}, "temperature must be a finite number above 0, got inf"),
    ({"weighting_warmup_steps": -1}, "weighting_warmup_steps must not be negative, got -1"),
    ({"contrastive_min_steps": -1}, "contrastive_min_steps must not be negative, got -1"),
    ({"weighting_warmup": -1.0}, "weighting_warmup must not be negative, got -1.0"),
    ({"weighting_warmup": math.nan}, "weighting_warmup must not be negative, got nan"),
    ({"contrastive_weight": -0.5}, "contrastive_weight must be finite and not negative, got -0.5"),
    ({"contrastive_weight": math.inf}, "contrastive_weight must be finite and not negative, got inf"),
    ({"weighting": "gaussian", "threshold": math.nan}, "threshold must be a finite number, got nan"),
    ({"auxiliary": "none", "contrastive": "lscl"}, "contrastive='lscl' needs the probabilities of an auxiliary"),
    ({"auxiliary": "none", "contrastive": "lcl"}, "contrastive='lcl' needs the probabilities of an auxiliary"),
    ({"threshold": 0.0}, "threshold and statistics='batch' belong to Eq. 4: set weighting='gaussian'"),
    ({"statistics": "batch"}, "threshold and statistics='batch' belong to Eq. 4: set weighting='gaussian'"),
]


@pytest.mark.parametrize(("values", "message"), BAD_VALUES, ids=str)
def test_values_that_make_no_sense(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        make(tmp_path, **values)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        {"aux_smoothing": 0.0},
        {"weighting_warmup": 0.0},
        {"weighting_warmup": math.inf},  # only record margins
        {"contrastive_weight": 0.0},
        {"weighting": "gaussian", "threshold": -1e9, "statistics": "batch"},
        {"auxiliary": "none", "contrastive": "scl"},
        {"auxiliary": "none", "similarity": "class"},
    ],
    ids=str,
)
def test_values_at_the_edge(tmp_path: Path, values: dict[str, Any]) -> None:
    config = make(tmp_path, **values)
    assert {name: getattr(config, name) for name in values} == values


@pytest.mark.parametrize("kind", [LaneConfig, TrainingArguments])
def test_the_hub_token_is_not_pickled_with_the_arguments(tmp_path: Path, kind: type[TrainingArguments]) -> None:
    args = kind(output_dir=str(tmp_path), hub_token="secret", report_to="none", use_cpu=True)
    config = LaneConfig.from_training_arguments(args)
    assert config.hub_token == "secret"
    assert b"secret" not in pickle.dumps(config)
    assert copy.deepcopy(config).hub_token == "secret"


def test_weights_are_not_averaged_twice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="weight_averaging does not go with optim='schedule_free_adamw'"):
        LaneConfig(str(tmp_path), weight_averaging=0.4, optim="schedule_free_adamw")
