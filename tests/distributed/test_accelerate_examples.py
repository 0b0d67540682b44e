"""The configuration files in examples/accelerate say to Accelerate what they are meant to say."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

EXAMPLES = Path(__file__).parents[2] / "examples" / "accelerate"


def environment(name: str, *argv: str) -> dict[str, str]:
    """What the processes that `accelerate launch` starts would find in their environment."""
    args = launch_command_parser().parse_args(["--config_file", str(EXAMPLES / name), *argv, "run_lane.py"])
    args, *_ = _validate_launch_command(args)
    return prepare_multi_gpu_env(args)


def test_every_file_is_read_without_an_unknown_key() -> None:
    files = sorted(path.name for path in EXAMPLES.iterdir())
    assert files == ["ddp.yaml", "fsdp2.yaml", "two_nodes.yaml"]
    for name in files:
        load_config_from_file(str(EXAMPLES / name))  # refuses unknown keys


@pytest.mark.parametrize(
    ("name", "is_sharded"), [("ddp.yaml", False), ("fsdp2.yaml", True), ("two_nodes.yaml", False)]
)
def test_only_the_sharded_one_turns_fsdp_on(name: str, is_sharded: bool) -> None:
    variables = environment(name)
    assert (variables.get("ACCELERATE_USE_FSDP") == "true") == is_sharded
    if is_sharded:
        assert variables["FSDP_VERSION"] == "2"
        assert variables["FSDP_AUTO_WRAP_POLICY"] == "TRANSFORMER_BASED_WRAP"
        assert variables["FSDP_STATE_DICT_TYPE"] == "FULL_STATE_DICT"
