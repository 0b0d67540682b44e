"""What the arguments of all methods have in common."""

import math
import pickle
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from transformers import TrainingArguments

from lane_hf import InputError, LaneConfig
from lane_hf.method_config import MethodConfig, check_choice, check_range


@dataclass
class OneField(MethodConfig):
    amount: float = field(default=0.5, metadata={"help": "An amount."})

    def check_fields(self) -> None:
        check_range("amount", self.amount, 0, 1)


def test_fields_are_checked_before_anything_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"amount must be in \[0, 1\], got 2"):
        OneField(output_dir=str(tmp_path), amount=2, eval_strategy="no such strategy")


def test_own_fields_are_those_that_other_methods_do_not_have() -> None:
    assert OneField.own_fields() == ["amount"]
    assert MethodConfig.own_fields() == []
    assert "check_replicas" not in LaneConfig.own_fields()
    assert "weighting" in LaneConfig.own_fields()


def test_training_arguments_get_the_defaults(tmp_path: Path) -> None:
    given = TrainingArguments(output_dir=str(tmp_path), learning_rate=3e-4, use_cpu=True)
    config = OneField.from_training_arguments(given)
    assert isinstance(config, OneField)
    assert (config.learning_rate, config.amount, config.check_replicas) == (3e-4, 0.5, False)
    assert not hasattr(given, "amount")


def test_arguments_of_the_method_are_taken_as_they_are(tmp_path: Path) -> None:
    config = OneField(output_dir=str(tmp_path), amount=0.25)
    assert OneField.from_training_arguments(config) is config
    assert MethodConfig.from_training_arguments(config) is config


def test_arguments_of_another_method_keep_what_they_have_in_common(tmp_path: Path) -> None:
    config = OneField.from_training_arguments(LaneConfig(output_dir=str(tmp_path), check_replicas=True))
    assert (config.check_replicas, config.amount) == (True, 0.5)
    assert "weighting" not in config.to_dict()


def test_the_token_is_not_pickled(tmp_path: Path) -> None:
    config = OneField(output_dir=str(tmp_path), hub_token="hf_secret")
    assert config.hub_token == "hf_secret"
    assert b"hf_secret" not in pickle.dumps(config.hub_token)
    assert "hf_secret" not in repr(config)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
def test_out_of_range(value: float) -> None:
    with pytest.raises(InputError, match="share must be in"):
        check_range("share", value, 0, 1)


def test_the_lower_end_may_be_excluded() -> None:
    check_range("share", 0, 0, 1)
    check_range("share", 1, 0, 1, open_low=True)
    with pytest.raises(InputError, match=r"share must be in \(0, 1\], got 0"):
        check_range("share", 0, 0, 1, open_low=True)


def test_unknown_choice() -> None:
    check_choice("mode", "a", ("a", "b"))
    with pytest.raises(InputError, match="mode='c' is unknown: choose one of a, b"):
        check_choice("mode", "c", ("a", "b"))
