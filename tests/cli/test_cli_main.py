"""The manners of all commands: help, exit statuses, pipes, terminals, and completion."""

import io
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lane_hf import cli, run
from lane_hf.cli import main, output
from lane_hf.datasets import names
from lane_hf.errors import CheckpointError

Lane = Callable[..., str]
LANE = [sys.executable, "-m", "lane_hf"]
# As users have it: Python writes to a pipe once its buffer is full, or at its end.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["issues", "--help"], ["completion", "--help"]])
def test_help_needs_no_torch(arguments: list[str]) -> None:
    code = (
        f"import sys\nfrom lane_hf.cli import main\nassert main({arguments}) == 0\nassert 'torch' not in sys.modules"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert ("usage: lane" in shown) != (arguments == ["--version"])


def test_train_has_its_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    assert "usage: lane train" in capsys.readouterr().out


def test_options_are_written_with_dashes_too_but_never_cut(lane: Lane, refused: Lane, tmp_path: Path) -> None:
    assert "no such folder: choose" not in lane("datasets", "goemotions")
    missing = tmp_path / "no-such_folder"
    assert str(missing) in refused("datasets", "goemotions", "--data-dir", missing)
    assert str(missing) in refused("datasets", "goemotions", f"--data-dir={missing}")
    assert refused("datasets", "--jso") == "unknown argument --jso. See lane datasets --help"
    assert "COMMAND" in refused("--json")


def test_a_warning_is_a_line_without_the_code_that_noticed_it() -> None:
    code = (
        "import warnings\nfrom lane_hf import cli\n"
        "def run(arguments):\n"
        "    warnings.warn('two labels\\n have \\x1b no row', stacklevel=1)\n"
        "    warnings.warn('of a library', FutureWarning, stacklevel=1)\n"
        "cli.datasets.run = run\n"
        "assert cli.main(['datasets']) == 0\n"
        "warnings.warn('afterwards', stacklevel=1)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    first, second, third = shown.splitlines()[:3]
    assert first == "warning: two labels have \N{REPLACEMENT CHARACTER} no row"
    assert second.endswith("FutureWarning: of a library")
    assert third.endswith("UserWarning: afterwards")


def test_what_cannot_be_written_has_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(arguments: Any) -> None:
        raise CheckpointError("no space for the checkpoint")

    monkeypatch.setattr(cli.datasets, "run", fails)
    assert main(["datasets"]) == 1
    assert capsys.readouterr().err == "error: no space for the checkpoint\n"


@pytest.mark.parametrize("command", ["datasets", "train"])
def test_interrupting_is_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.datasets, "run", interrupted)
    monkeypatch.setattr(run, "main", interrupted)
    assert main([command]) == 130
    said = capsys.readouterr().err
    assert said.startswith("error: interrupted")
    assert said.count("\n") == 1
    assert ("--resume_from_checkpoint" in said) == (command == "train")


# ---- Pipes ----


@pytest.mark.parametrize("arguments", [["datasets"], ["--help"]])
@pytest.mark.parametrize("environment", [BUFFERED, {**BUFFERED, "PYTHONUNBUFFERED": "1"}], ids=["buffered", "at once"])
def test_a_closed_pipe_stops_it_quietly(arguments: list[str], environment: dict[str, str]) -> None:
    piped = subprocess.Popen([*LANE, *arguments], stdout=-1, stderr=-1, env=environment)
    piped.stdout.close()  # nobody reads
    assert piped.stderr.read() == b""
    assert piped.wait() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full, of Linux")
@pytest.mark.parametrize("arguments", [["datasets"], ["--help"]])
def test_a_full_disk_is_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*LANE, *arguments], stdout=full, stderr=-1, env=BUFFERED, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the output could not be read or written (")
    assert done.stderr.count("\n") == 1


# ---- Terminals ----


def on_terminal(*arguments: str, **environment: str) -> str:
    """Return what a command prints on a real terminal."""
    reader, writer = pty.openpty()
    settings = {**BUFFERED, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    process = subprocess.Popen([*LANE, *arguments], stdin=writer, stdout=writer, stderr=writer, env=settings)
    os.close(writer)
    shown = b""
    while True:
        try:
            part = os.read(reader, 65536)
        except OSError:  # on Linux, the end
            break
        if not part:
            break
        shown += part
    os.close(reader)
    assert process.wait() == 0
    return shown.decode()


def test_tables_have_colours_and_lines_on_a_terminal_only() -> None:
    shown = on_terminal("datasets")
    assert "\x1b[" in shown
    assert "───" in shown
    shown = on_terminal("datasets", NO_COLOR="1")
    assert "\x1b[3" not in shown  # bold is no colour
    assert "───" in shown
    shown = on_terminal("datasets", TERM="dumb")
    assert "\x1b" not in shown
    assert "─" not in shown


def test_tables_are_plain_in_a_pipe(lane: Lane) -> None:
    lines = lane("datasets").splitlines()
    assert [line.split()[0] for line in lines] == ["name", *names()]
    assert len({line.index(geometry) for line in lines for geometry in ("geometry", "none") if geometry in line}) == 1


def test_wide_letters_keep_the_columns_straight() -> None:
    lines = output.columns([("label", "n"), ("東京", "1"), ("a", "2")]).splitlines()
    assert lines == ["label  n", "東京   1", "a      2"]


@pytest.mark.parametrize("terminal", [True, False])
def test_what_the_encoding_lacks_is_replaced(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stdout", stream)
    output.say_table([("label", "n"), ("東京", "1")])
    stream.flush()
    assert b"??" in stream.buffer.getvalue()


def test_progress_is_shown_on_a_terminal_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(output.progress(range(3), 3, "Rows")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert list(output.progress(range(3), 3, "Rows")) == [0, 1, 2]
    captured = capsys.readouterr()
    assert "Rows" in captured.err
    assert captured.out == ""


# ---- Completion ----


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "lane.sh"
    path.write_text(cli.completion.script_for(cli.parser()))
    return path


COMPLETED: dict[str, tuple[list[str], list[str]]] = {
    "a command": (["is"], ["issues"]),
    "an option": (["issues", "--only"], ["--only_issues"]),
    "a value": (["fix", "run", "--action", ""], ["relabel", "drop", "review"]),
    "the rest of a value": (["fix", "run", "--action", "dr"], ["drop"]),
    "a value after =": (["fix", "run", "--action", "=", "dr"], ["drop"]),
    "all values after =": (["fix", "run", "--action", "="], ["relabel", "drop", "review"]),
    "an option of training": (["train", "--weighting_w"], ["--weighting_warmup", "--weighting_warmup_steps"]),
    "an option of another method": (["train", "--percentil"], ["--percentile"]),
    "a value of training": (["train", "--auxiliary", "sh"], ["shared"]),
    "a method": (["train", "--method", "au"], ["aum"]),
    "a shell": (["completion", ""], ["bash", "zsh"]),
    "data sets": (["datasets", ""], names()),
    "a folder of data": (["datasets", "--data_dir", ""], []),  # the shell completes files then
    "a folder": (["issues", ""], []),
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(("words", "expected"), COMPLETED.values(), ids=COMPLETED)
def test_bash_completes(words: list[str], expected: list[str], script: Path) -> None:
    line = " ".join(f"'{word}'" for word in ["lane", *words])
    code = f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _lane; echo ${{COMPREPLY[@]}}"
    shown = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == expected
    assert shown.stderr == ""


def test_every_command_and_option_is_completed(script: Path) -> None:
    text = script.read_text()
    commands = ["train", *(each.__name__.split(".")[-1] for each in cli.COMMANDS)]
    assert f'words="{" ".join(commands)} --help --version"' in text
    assert "--train_file " in text
    assert "--train-file" not in text  # the same once more


def test_the_scripts_are_for_their_shells(lane: Lane, script: Path) -> None:
    assert lane("completion", "bash") == script.read_text()
    zsh = lane("completion", "zsh")
    assert zsh.endswith(script.read_text())
    assert zsh.startswith("autoload -U +X compinit && compinit\n")


def test_json_of_data_sets_is_one_document(lane: Lane) -> None:
    assert json.loads(lane("datasets", "goemotions", "--json"))["name"] == "goemotions"
