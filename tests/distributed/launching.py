"""Starting a script in several real processes."""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from forking import fork


def launch(script: Path, processes: int, *arguments: str, timeout: int = 600, **environment: str) -> str:
    """Run a script with torchrun, or in one process without it, and return what it printed."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return _run([*(launcher if processes > 1 else []), str(script), *arguments], timeout, environment)


def fork_each(script: Path, tasks: dict[int, tuple[Path, dict[str, Any]]], timeout: int = 900) -> None:
    """Import a script once, and run its `main` for each number of processes in so many, forked from the first.

    Importing takes longer than most of what they do. They find each other as torchrun's do: by their environment.

    Args:
        script: a file whose `main` takes a folder and scenarios by name.
        tasks: for each number of processes the folder and the scenarios.
        timeout: in seconds.
    """
    given = {number: (str(folder), scenarios) for number, (folder, scenarios) in tasks.items()}
    _run([str(Path(__file__)), str(script), json.dumps(given)], timeout, {})


def learned_of(tasks: dict[int, tuple[Path, dict[str, Any]]]) -> dict[int, dict[str, Any]]:
    """Return what the processes of `fork_each` have saved, by their number and by the scenario."""
    return {
        processes: {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in scenarios}
        for processes, (folder, scenarios) in tasks.items()
    }


def _run(arguments: list[str], timeout: int, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    # What the processes said comes before what the launcher says about them.
    said = [line for line in done.stderr.splitlines() if line.startswith("[rank")] or [done.stderr]
    assert done.returncode == 0, "\n".join(said)[-3000:]
    return done.stdout


def _do(main: Callable[..., None], processes: int, *task: Any) -> bool:
    """Do a task in so many processes, and return whether all of them ended well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}

    def run(rank: int) -> None:
        if processes > 1:
            os.environ.update(meeting, RANK=str(rank), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(processes))
        main(*task)

    children = {fork(partial(run, rank)) for rank in range(processes)}
    while children:
        child, status = os.wait()
        children.discard(child)
        if status != 0:  # the others would wait for it
            for other in children:
                os.kill(other, signal.SIGKILL)
            return False
    return True


if __name__ == "__main__":
    main = runpy.run_path(sys.argv[1])["main"]
    for number, (folder, scenarios) in json.loads(sys.argv[2]).items():
        if not _do(main, int(number), Path(folder), scenarios):
            sys.exit(1)
