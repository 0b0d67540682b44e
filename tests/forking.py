"""New processes in which the large packages are imported already: importing them takes longer than most tests do.

A template is a fresh process that imports them and does nothing else. For each script it forks: what runs is a process
of its own, with its own environment, folder and output, that has run nothing yet. What packages read when they are
imported is as in the template's environment: where the Hub is, and whether it may be asked.
"""

import atexit
import gc
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

# No module of lane_hf, so that scripts can tell whether they need it.
LARGE = (
    *("torch", "datasets", "pandas", "sklearn.metrics", "huggingface_hub.hf_api", "huggingface_hub.hf_file_system"),
    *(
        "accelerate",
        "evaluate",
        "transformers.trainer",
        "transformers.pipelines",
        "transformers.models.auto.modeling_auto",
    ),
    *("transformers.models.bert.modeling_bert", "transformers.modelcard"),
)


class Template:
    """A process to fork from, with the environment that it is started with and further modules that it imports."""

    def __init__(self, environment: Mapping[str, str] | None = None, modules: Sequence[str] = ()) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), *LARGE, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ if environment is None else environment),
            start_new_session=True,  # so that what it has forked can be killed with it
        )

    def run(
        self, argv: list[str], cwd: str | Path, environment: Mapping[str, str], timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a script and its arguments, or `-c` and code, as `python` would."""
        with tempfile.TemporaryDirectory(prefix="forked_") as folder:
            files = [str(Path(folder, name)) for name in ("stdout", "stderr")]
            order = {"argv": argv, "cwd": str(cwd), "environment": dict(environment), "files": files}
            status = self._ask(order, timeout)
            texts = [Path(file).read_text(encoding="utf-8", errors="replace") for file in files]
            return subprocess.CompletedProcess([sys.executable, *argv], status, *texts)

    def _ask(self, order: dict[str, Any], timeout: float) -> int:
        pipes = self._process.stdin, self._process.stdout
        print(json.dumps(order), file=pipes[0], flush=True)
        if not select.select([pipes[1]], [], [], timeout)[0]:
            self.stop()
            raise subprocess.TimeoutExpired(order["argv"], timeout)
        answer = pipes[1].readline()
        assert answer, f"the template ended with status {self._process.wait()}"
        return int(answer)

    def stop(self) -> None:
        """End the template and everything that it has forked."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


def _serve() -> None:
    """Import, then fork for each line of orders, and answer with the status."""
    for name in sys.argv[1:]:
        import_module(name)
    gc.collect()
    gc.freeze()  # what is there stays: no process looks at it again
    for line in sys.stdin:
        order = json.loads(line)
        child = fork(lambda order=order: _become(**order))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201 -- the answer


def fork(run: Callable[[], None]) -> int:
    """Run something in a forked process, which ends as a script would that did this, and return the number of it."""
    child = os.fork()
    if child != 0:
        return child
    status = 0
    try:
        run()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:
        traceback.print_exc()
        status = 1
    # All that an interpreter does at its end, but for taking the large packages apart, which takes seconds.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _become(argv: list[str], cwd: str, environment: dict[str, str], files: list[str]) -> None:
    """Run a script with its own output, environment and folder."""
    for descriptor, file in enumerate((os.devnull, *files)):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    _execute(*argv)


def _execute(first: str, *rest: str) -> None:
    main = sys.modules["__main__"] = ModuleType("__main__")
    if first == "-c":
        code, name, sys.argv, sys.path[0] = rest[0], "<string>", ["-c", *rest[1:]], ""
    else:
        code, name, sys.argv, sys.path[0] = Path(first).read_text(), first, [first, *rest], str(Path(first).parent)
        main.__file__ = first
    exec(compile(code, name, "exec"), main.__dict__)  # noqa: S102 -- the test's own


if __name__ == "__main__":
    _serve()
