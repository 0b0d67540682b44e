"""`lane push` before anything reaches the Hub: what is refused, and what would be uploaded."""

import json
import shutil
from collections.abc import Callable

import pytest
from cli_runs import Run

Lane = Callable[..., str]


@pytest.fixture
def done(run: Run) -> Run:
    """A run with the files of its model."""
    for name in ("config.json", "model.safetensors"):
        (run.folder / name).write_text("{}")
    return run


@pytest.mark.parametrize("name", ["my run", "a/b/c", "-model", "user/model."])
def test_a_name_that_the_hub_does_not_take_is_refused_before_the_card_is_written(
    done: Run, refused: Lane, name: str
) -> None:
    (done.folder / "README.md").write_text("mine")
    for more in ((), ("--dry_run",)):
        message = refused("push", done.folder, f"--repo_id={name}", *more)
        assert f"the repository cannot be called '{name}'" in message
        assert "name it with --repo_id, such as user/model" in message
    assert (done.folder / "README.md").read_text() == "mine"


def test_a_folder_whose_name_the_hub_does_not_take_needs_another(done: Run, refused: Lane, lane: Lane) -> None:
    folder = done.folder.with_name("my run")
    shutil.copytree(done.folder, folder)
    assert "cannot be called 'my run'" in refused("push", folder, "--dry_run")
    assert not (folder / "README.md").exists()
    assert json.loads(lane("push", folder, "--repo_id", "user/model", "--dry_run", "--json"))["files"]
