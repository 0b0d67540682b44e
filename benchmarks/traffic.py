"""What a training step sends over the network, between two hosts with one process each.

    python benchmarks/traffic.py --output traffic.jsonl

The hosts are two network namespaces of this machine, joined by a virtual cable whose counters are read (needs root and
the command `ip`). A tiny classifier is trained twice with different numbers of steps; the difference is what the steps
sent. Gradients are known to be four bytes a parameter, and what remains is the bookkeeping. One JSON line a
configuration, then a table.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "distributed")]

import torch  # noqa: E402
from two_hosts import bytes_sent, launch_on_both, two_hosts, why_not  # noqa: E402

SCRIPT = TESTS / "distributed" / "train_toy.py"
GATHERED = {"contrastive": "lscl", "gather_across_devices": True}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "Trainer": {"trainer": "stock"},
    "RowTrainer": {"trainer": "plain"},
    "LANE": {"auxiliary": "none"},
    "LANE, shared auxiliary": {"auxiliary": "shared"},
    "LANE, full auxiliary": {"auxiliary": "full"},
    "LANE, full, similarity by class": {"auxiliary": "full", "similarity": "class"},
    "LANE, full, contrastive, gathered": {"auxiliary": "full", **GATHERED},
}
FEW, MANY = 10, 60


def measure(options: dict[str, Any], batch_size: int) -> dict[str, Any]:
    """Return the bytes that one host sends in a step, and how many parameters are trained."""
    quiet = {"logging_strategy": "no", "num_rows": 960, "global_batch": 2 * batch_size}
    sent: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for steps in (FEW, MANY):
            with two_hosts():
                scenario = {"run": {**quiet, "max_steps": steps, **options}}
                launch_on_both(SCRIPT, folder, json.dumps(scenario))
                sent[steps] = bytes_sent()
        learned = torch.load(Path(folder) / "run.pt", weights_only=True)
    return {"bytes_per_step": (sent[MANY] - sent[FEW]) / (MANY - FEW), "parameters": learned["parameters"]}


def table(lines: list[dict[str, Any]]) -> str:
    rows = ["| configuration | rows a process | bytes a step | gradients | the rest |", "|---|---|---|---|---|"]
    for line in lines:
        gradients, sent = 4 * line["parameters"], line["bytes_per_step"]
        numbers = f"{sent:,.0f} | {gradients:,} | {sent - gradients:,.0f}"
        rows.append(f"| {line['configuration']} | {line['batch_size']} | {numbers} |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[8, 32])
    args = parser.parse_args()
    if why_not() is not None:
        print(f"error: {why_not()}", file=sys.stderr)
        return 2
    lines: list[dict[str, Any]] = []
    for batch_size in args.batch_sizes:
        for name, options in CONFIGURATIONS.items():
            lines.append({"configuration": name, "batch_size": batch_size, **measure(options, batch_size)})
            with args.output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(lines[-1]) + "\n")
    print(table(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
