"""The arguments of the main job: from a command line, from files, and what is refused."""

import copy
import json
import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from lane_hf import InputError, LaneConfig, run_arguments
from lane_hf.methods import METHODS
from lane_hf.run_arguments import parse


def refusal(*argv: str) -> str:
    """Return the message that arguments are refused with."""
    with pytest.raises(InputError) as caught:
        parse(argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(path: Path, content: Any) -> str:
    """Write a configuration: text as it is, anything else as json."""
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


# The command line


def test_without_arguments_everything_has_its_default() -> None:
    model, data, config = parse([])
    assert model.model_name_or_path is None
    assert data.dataset is data.train_file is data.label_noise is None
    assert config.method == "lane"
    assert config.output_dir == "lane_output"
    assert config.learning_rate is None
    assert (config.do_train, config.do_eval, config.do_predict) == (True, True, True)
    assert config.steps_chosen == set()


def test_arguments_go_to_their_groups() -> None:
    argv = ["--model_name_or_path", "m", "--train_file", "t.csv", "--label_noise", "0.3", "--weighting", "gaussian"]
    model, data, config = parse([*argv, "--learning-rate", "1e-4", "--report_to", "none"])
    assert model.model_name_or_path == "m"
    assert (data.train_file, data.label_noise) == ("t.csv", 0.3)
    assert (config.weighting, config.learning_rate) == ("gaussian", 1e-4)


def test_none_takes_the_arguments_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["run_lane.py", "--seed", "11"])
    assert parse()[2].seed == 11


@pytest.mark.parametrize("chosen", [["do_train"], ["do_eval"], ["do_train", "do_predict"]])
def test_chosen_steps_are_noted(chosen: list[str]) -> None:
    config = parse([f"--{step}" for step in chosen])[2]
    assert config.steps_chosen == set(chosen)
    assert config.do_train == ("do_train" in chosen)
    assert config.do_predict == ("do_predict" in chosen)


@pytest.mark.parametrize(("argv", "bf16"), [(["--bf16"], True), (["--bf16", "true"], True), (["--bf16", "no"], False)])
def test_bf16_needs_no_value(argv: list[str], bf16: bool) -> None:
    assert parse(argv)[2].bf16 is bf16


@pytest.mark.parametrize("fast", [True, False])
def test_bf16_is_used_where_it_is_fast_and_nothing_speaks_against_it(
    monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    monkeypatch.setattr(run_arguments, "has_fast_bf16", lambda: fast)
    assert parse([])[2].bf16 is fast
    assert parse(["--full_determinism"])[2].bf16 is False
    assert parse(["--fp16"])[2].bf16 is False


@pytest.mark.parametrize(
    ("cuda", "accelerator", "capabilities", "fast"),
    [
        (True, True, {}, True),
        (False, True, {"avx512_bf16": True}, False),
        (False, False, {"avx512_bf16": True, "amx_bf16": False}, True),
        (False, False, {"avx512_bf16": False}, False),
        (False, False, {}, False),
    ],
)
def test_fast_bf16_is_a_matter_of_the_hardware(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, accelerator: bool, capabilities: dict[str, bool], fast: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert run_arguments.has_fast_bf16() is fast


def test_a_token_serves_the_hub_but_is_never_pickled() -> None:
    config = parse(["--hub_token", "secret"])[2]
    assert config.hub_token == copy.deepcopy(config).hub_token == "secret"
    assert b"secret" not in pickle.dumps(config)
    assert pickle.loads(pickle.dumps(config)).hub_token == ""  # noqa: S301 -- our own
    assert "secret" not in config.to_json_string()
    assert parse([])[2].hub_token is None


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--lable_noise", "0.1"], "unknown argument --lable_noise (did you mean label_noise?). See --help"),
        (["--train-flie=x.csv"], "unknown argument --train-flie=x.csv (did you mean train_file?). See --help"),
        (["--zzzzzz", "1"], "unknown argument --zzzzzz. See --help"),
        (["stray"], "unknown argument stray. See --help"),
        (["--num_train", "1"], "unknown argument --num_train (did you mean "),  # an abbreviation
        (["--method", "foo"], "the method 'foo' is unknown: choose one of lane, plain, "),
        (["--method=lan"], "the method 'lan' is unknown (did you mean lane?)"),
        (["--method", "plain", "--weighting", "gaussian"], "--weighting (it is an option of the method lane)"),
        (["--percentile=50"], "unknown argument --percentile=50 (it is an option of the method aum). See --help"),
        (["--method=cartography-easy", "--select", "hard"], "unknown argument --select"),
        (["--noise_kind", "foo"], "(choose from 'shuffle', 'uniform', 'pair', 'semantic')"),
        (["--train_sampling_strategy", "foo"], "(choose from 'random', 'sequential', 'group_by_length')"),
        (["--seed"], "argument --seed: expected one argument. See --help"),
        (["--seed", "x"], "argument --seed: invalid int value: 'x'. See --help"),
        (["--label_noise", "2"], "label_noise must be in [0, 1], got 2.0"),
        (["--label_noise", "-0.1"], "label_noise must be in [0, 1], got -0.1"),
        (["--label_noise", "nan"], "label_noise must be in [0, 1], got nan"),
        (["--num_train_epochs", "0"], "num_train_epochs must be above 0, got 0"),
        (["--num_train_epochs=-1.5"], "num_train_epochs must be above 0, got -1.5"),
        (["--max_train_samples", "0"], "max_train_samples must be at least 1, got 0"),
        (["--max_length", "0"], "max_length must be at least 1, got 0"),
        (["--per_device_train_batch_size", "0"], "per_device_train_batch_size must be at least 1, got 0"),
        (["--per_device_eval_batch_size", "-1"], "per_device_eval_batch_size must be at least 1, got -1"),
        (["--learning_rate", "-1"], "learning_rate must not be negative, got -1.0"),
        (["--learning_rate", "nan"], "learning_rate must not be negative, got nan"),
        (["--dataset", "demo", "--train_file", "x.csv"], "both dataset and train_file are given"),
        (["--test_file", "x.csv"], "validation_file and test_file need a train_file"),
        (["--validation_file", "x.csv", "--dataset", "demo"], "validation_file and test_file need a train_file"),
        (["--eval_strategy", "foo"], "foo is not a valid IntervalStrategy"),
        (["--temperature", "0"], "temperature must be "),
        (["--threshold", "0.5"], "weighting='gaussian'"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(argv: list[str], message: str) -> None:
    assert message in refusal(*argv)


def test_shares_at_the_ends_are_allowed() -> None:
    assert [parse(["--label_noise", share])[1].label_noise for share in ("0", "1")] == [0.0, 1.0]


# Files


def test_yaml_gives_values_that_the_command_line_overrides(tmp_path: Path) -> None:
    path = write(
        tmp_path / "config.yaml",
        """
        # a comment
        train_file: train.csv
        learning_rate: 1e-4
        seed: 7
        label_noise: .25
        threshold: -1e-3
        weighting: gaussian
        reweight: false
        do_train: yes
        revision: 123
        label_names: [label, "0"]
        report_to: [none]
        lr_scheduler_kwargs: {num_cycles: 2}
        """,
    )
    model, data, config = parse([path, "--seed", "8", "--label_noise=0.5"])
    assert (config.seed, data.label_noise) == (8, 0.5)
    assert (config.learning_rate, config.threshold) == (1e-4, -1e-3)
    assert config.reweight is False
    assert config.steps_chosen == {"do_train"}
    assert (data.train_file, model.revision) == ("train.csv", "123")
    assert config.label_names == ["label", "0"]
    assert config.report_to == []  # what Transformers makes of [none]
    assert config.lr_scheduler_kwargs == {"num_cycles": 2}


@pytest.mark.parametrize("name", ["config.json", "config.JSON"])
def test_json_gives_values_that_the_command_line_overrides(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, {"train_file": "a.csv", "seed": 7, "learning_rate": 1e-4, "bf16": False})
    _, data, config = parse([path, "--seed", "8"])
    assert (data.train_file, config.seed, config.learning_rate, config.bf16) == ("a.csv", 8, 1e-4, False)


def test_a_byte_order_mark_is_no_part_of_a_configuration(tmp_path: Path) -> None:
    for name, content in (("config.json", '\ufeff{"seed": 7}'), ("config.yml", "\ufeffseed: 7")):
        assert parse([write(tmp_path / name, content)])[2].seed == 7


def test_null_is_none_where_there_may_be_none(tmp_path: Path) -> None:
    path = write(tmp_path / "config.yaml", "save_total_limit: null\nvalidation_file:\nlearning_rate: null\n")
    _, data, config = parse([path])
    assert config.save_total_limit is data.validation_file is config.learning_rate is None
    path = write(tmp_path / "config.yaml", "seed: null\n")
    assert refusal(path) == f"{path}: seed needs a value"


def test_a_bare_no_is_a_strategy(tmp_path: Path) -> None:
    config = parse([write(tmp_path / "config.yaml", "save_strategy: no\neval_strategy: no\nlogging_strategy: no\n")])[
        2
    ]
    assert config.save_strategy == config.eval_strategy == config.logging_strategy == "no"
    config = parse([write(tmp_path / "config.yaml", "resume_from_checkpoint: false\n")])[2]
    assert config.resume_from_checkpoint == "False"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.yaml", "lable_noise: 0.1", "unknown argument 'lable_noise' (did you mean label_noise?)"),
        ("c.json", {"sed": 7}, "unknown argument 'sed' (did you mean seed?)"),
        ("c.yaml", "1: 2", "unknown argument 1"),
        ("c.yaml", "help: true", "unknown argument 'help'"),
        ("c.yaml", "a: [1\nb: 2", "cannot be read (while parsing a flow sequence"),
        ("c.yaml", "a: !!python/object/apply:os.getcwd []", "cannot be read (could not determine a constructor"),
        ("c.json", '{"seed": 7,', "cannot be read (Expecting property name enclosed in double quotes: line 1"),
        ("c.json", "[" * 100_000, "cannot be read ("),
        ("c.yaml", "- seed\n", "expected names and values, such as 'seed: 7'"),
        ("c.yaml", "", "expected names and values"),
        ("c.json", "7", "expected names and values"),
        ("c.yaml", "seed: foo", "argument --seed: invalid int value: 'foo'"),
        ("c.yaml", "seed: [1, 2]", "seed takes one value, got the list [1, 2]"),
        ("c.yaml", "seed: {a: 1}", "argument --seed: invalid int value: "),
        ("c.yaml", "seed: true", "argument --seed: invalid int value: 'True'"),
        ("c.yaml", "method: foo", "c.yaml: the method 'foo' is unknown: choose one of lane, plain"),
        ("c.yaml", "method: 7", "c.yaml: the method '7' is unknown"),
        ("c.yaml", "method: [lane]", "method takes one value, got the list ['lane']"),
        ("c.yaml", "method:", "method needs a value"),
        ("c.yaml", "method: plain\nweighting: gaussian", "(it is an option of the method lane)"),
        ("c.yaml", "bf16: maybe", "argument --bf16: Truthy value expected: got maybe"),
        ("c.yaml", "label_names: []", "expected at least one argument"),
    ],
)
def test_bad_files_are_named_with_what_is_wrong(tmp_path: Path, name: str, content: Any, message: str) -> None:
    path = write(tmp_path / name, content)
    found = refusal(path)
    assert found.startswith(f"{path}: ")
    assert message in found


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    assert refusal(str(tmp_path / "none.yaml")) == f"{tmp_path / 'none.yaml'}: no such file"
    (tmp_path / "latin.yaml").write_bytes("method: lané".encode("latin1"))
    assert "cannot be read ('utf-8' codec" in refusal(str(tmp_path / "latin.yaml"))


def test_values_of_a_file_are_checked_together_like_those_of_a_command_line(tmp_path: Path) -> None:
    path = write(tmp_path / "config.yaml", "label_noise: 2\n")
    assert refusal(path) == "label_noise must be in [0, 1], got 2.0"
    assert parse([path, "--label_noise", "0.1"])[1].label_noise == 0.1


# ---- Methods ----


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_its_options_and_the_jobs_defaults(method: str, tmp_path: Path) -> None:
    config = parse(["--method", method, "--output_dir", str(tmp_path)])[2]
    assert isinstance(config, METHODS[method].config)
    assert config.method == method
    assert (config.num_train_epochs, config.save_total_limit) == (4.0, 1)
    for name, value in METHODS[method].fixed.items():
        assert getattr(config, name) == value


def test_options_of_a_method(tmp_path: Path) -> None:
    argv = ["--output_dir", str(tmp_path), "--method=aum", "--percentile", "50", "--runs=1"]
    config = parse(argv)[2]
    assert (config.percentile, config.runs, config.scoring_epochs) == (50.0, 1, None)


def test_the_last_method_on_the_command_line_counts_and_beats_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", "method: aum\n")
    assert parse([path])[2].method == "aum"
    assert parse([path, "--method=lane", "--method", "plain"])[2].method == "plain"


def test_the_help_is_about_the_chosen_method(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--method", "aum", "--help"])
    shown = capsys.readouterr().out
    assert "--percentile" in shown
    assert "--weighting_warmup" not in shown
    with pytest.raises(SystemExit):
        parse(["--method", "cartography-hard", "--help"])
    shown = capsys.readouterr().out
    assert "--fraction" in shown
    assert "--select" not in shown


def test_the_help_shows_every_argument_once_and_in_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    groups: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        if line[:1].isalpha() and line.endswith(":"):
            groups[line[:-1]] = []
        elif line.startswith("  --"):
            groups[next(reversed(groups))].append(line.split()[0].removeprefix("--"))
    assert list(groups) == ["run", "model", "data", "method lane", "every method", "more"]
    model, data, config = parse([])
    known = [each.name for group in (model, data, config) for each in fields(group) if each.init]
    assert sorted(name for group in groups.values() for name in group) == sorted([*known, "help"])
    assert groups["run"][:3] == ["help", "method", "output_dir"]
    assert set(groups["method lane"]) == set(LaneConfig.own_fields())
    assert groups["every method"] == ["check_replicas", "margin_history", "weight_averaging"]
    assert {"train_file", "label_noise"} <= set(groups["data"])
    assert {"adam_beta1", "hub_token"} <= set(groups["more"])


@pytest.mark.parametrize("method", METHODS)
def test_arguments_can_be_pickled(method: str, tmp_path: Path) -> None:
    config = parse(["--method", method, "--output_dir", str(tmp_path)])[2]
    again = pickle.loads(pickle.dumps(config))  # noqa: S301 -- its own bytes
    assert type(again) is type(config)
    assert again.method == method


def test_an_unknown_name_in_the_module() -> None:
    with pytest.raises(AttributeError, match="RunConfig_foo"):
        run_arguments.RunConfig_foo  # noqa: B018 -- the lookup is what is tested
