"""Two hosts on one machine: network namespaces, which share nothing but a virtual cable."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = (f"lane-{os.getpid()}-a", f"lane-{os.getpid()}-b")
ADDRESSES = ("10.213.7.1", "10.213.7.2")
INTERFACE = "lane0"
PORT = 29517


def why_not() -> str | None:
    """Return why this machine cannot play two hosts, or None if it can."""
    if shutil.which("ip") is None:
        return "two hosts need the command ip (Debian package iproute2)"
    probe = f"lane-probe-{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"two hosts need network namespaces, which are not allowed here ({done.stderr.strip()})"
    _ip("netns", "delete", probe)
    return None


@contextmanager
def two_hosts() -> Iterator[None]:
    """Create the hosts and the cable between them, and remove them afterwards."""
    try:
        for name in NAMES:
            _ip("netns", "add", name)
        first, second = NAMES
        ends = ["link", "add", INTERFACE, "netns", first, "type", "veth", "peer", "name", INTERFACE, "netns", second]
        _ip(*ends)
        for name, address in zip(NAMES, ADDRESSES, strict=True):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", INTERFACE)
            _ip("-n", name, "link", "set", INTERFACE, "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def launch_on_both(script: Path, *arguments: str, launcher: str = "torchrun", timeout: int = 300) -> None:
    """Run a script, one process on each host, which meet at the first host's address."""
    commands = [[*LAUNCHERS[launcher](rank), str(script), *arguments] for rank in (0, 1)]
    hosts = [
        subprocess.Popen(["ip", "netns", "exec", name, sys.executable, "-m", *command], env=_environment(), **_PIPES)
        for name, command in zip(NAMES, commands, strict=True)
    ]
    try:
        said = [host.communicate(timeout=timeout)[1] for host in hosts]
    finally:
        for host in hosts:
            host.kill()
    for host, text in zip(hosts, said, strict=True):
        assert host.returncode == 0, text[-3000:]


def bytes_sent() -> int:
    """Return how many bytes the first host has sent over the cable so far."""
    counter = f"/sys/class/net/{INTERFACE}/statistics/tx_bytes"
    return int(subprocess.check_output(["ip", "netns", "exec", NAMES[0], "cat", counter], text=True))


_PIPES: dict = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}


def _torchrun(rank: int) -> list[str]:
    meeting = ["--master_addr", ADDRESSES[0], "--master_port", str(PORT)]
    return ["torch.distributed.run", "--nnodes", "2", "--node_rank", str(rank), "--nproc_per_node", "1", *meeting]


def _accelerate(rank: int) -> list[str]:
    meeting = ["--main_process_ip", ADDRESSES[0], "--main_process_port", str(PORT)]
    config = Path(__file__).parents[2] / "examples" / "accelerate" / "two_nodes.yaml"
    where = ["--config_file", str(config), "--num_processes", "2", "--machine_rank", str(rank), *meeting]
    return ["accelerate.commands.launch", *where]


LAUNCHERS: dict[str, Callable[[int], list[str]]] = {"torchrun": _torchrun, "accelerate": _accelerate}


def _environment() -> dict[str, str]:
    # Without it gloo takes the address that the machine's name stands for, which is not on the cable.
    return {**os.environ, "GLOO_SOCKET_IFNAME": INTERFACE, "OMP_NUM_THREADS": "1"}


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)
