"""Starting a script in several real processes."""

import os
import subprocess
import sys
from pathlib import Path


def launch(script: Path, processes: int, *arguments: str, timeout: int = 600, **environment: str) -> str:
    """Run a script with torchrun, or in one process without it, and return what it printed."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), str(script), *arguments]
    done = subprocess.run(
        command,
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
