"""How fast are texts tokenised: in this process, in several, and by a run that finds the token ids on disk?

    python benchmarks/tokenising.py --rows 100000 --processes 2 --output tokenising.jsonl
    python benchmarks/tokenising.py --show tokenising.jsonl --into docs/explanation/performance.md

The demo's texts, repeated, with a number behind each so that no two are equal. Every way runs in a Python process of
its own, as it does for users: one after the other in each repeat, the ways with nothing on disk first. Shown is the
median time of `tokenise` over repeats; importing and loading the tokenizer do not count.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import datasets
from datasets import Dataset, DatasetDict
from documents import Line, add_line_arguments, keep_line, measure_or_show
from transformers import AutoTokenizer

from lane_hf.datasets import load
from lane_hf.packaged_model import default_model
from lane_hf.tokenisation import tokenise


def make_rows(number: int) -> DatasetDict:
    """Return so many different texts, as the split `test`."""
    texts = load("demo")["train"]["text"]
    made = [f"{texts[row % len(texts)]} {row // len(texts)}" for row in range(number)]
    return DatasetDict({"test": Dataset.from_dict({"text": made})})


def run_once(rows: int, processes: int | None) -> float:
    """Return the seconds that tokenising takes here, with the cache that the environment names."""
    data, tokenizer = make_rows(rows), AutoTokenizer.from_pretrained(default_model())
    started = time.perf_counter()
    tokenise(data, tokenizer, 64, num_proc=processes)
    return time.perf_counter() - started


def timed(rows: int, processes: int | None, cache: str) -> float:
    """Return the same, of a new Python process."""
    command = [sys.executable, __file__, "--once", "--rows", str(rows)]
    command += ["--processes", str(processes)] if processes else []
    environment = {**os.environ, "HF_DATASETS_CACHE": cache, "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])["seconds"]


def measure(args: argparse.Namespace) -> list[Line]:
    """Measure every way, repeat by repeat."""
    lines = []
    about = {
        "rows": args.rows,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("datasets", "tokenizers", "transformers")},
    }
    for repeat in range(args.repeats):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as several:
            ways = {
                "in one process": (None, one),
                f"in {args.processes} processes": (args.processes, several),
                "again, from disk": (None, one),
            }
            for way, (processes, cache) in ways.items():
                seconds = timed(args.rows, processes, cache)
                size = sum(file.stat().st_size for file in Path(cache).rglob("*.arrow"))
                line = {"way": way, "repeat": repeat, "seconds": seconds, "bytes": size, **about}
                lines.append(keep_line(line, args))
    return lines


def report(lines: Sequence[Line]) -> str:
    """Return the table: rows a second of each way, over the repeats."""
    first = lines[0]
    ways = dict.fromkeys(line["way"] for line in lines)
    repeats = len({line["repeat"] for line in lines})
    versions = ", ".join(f"{name} {number}" for name, number in first["versions"].items())
    head = (
        f"{first['rows']:,} rows, {first['cores']} cores, {versions}; median of {repeats}. On disk: "
        f"{first['bytes'] / first['rows']:.0f} bytes a row.\n\n| | rows/s | range |\n|---|---|---|\n"
    )
    body = []
    for way in ways:
        speeds = [line["rows"] / line["seconds"] for line in lines if line["way"] == way]
        body.append(f"| {way} | {statistics.median(speeds):,.0f} | {min(speeds):,.0f} to {max(speeds):,.0f} |")
    return head + "\n".join(body)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=None, help="Default: the number of cores.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--once", action="store_true", help="Tokenise here, once, and print the seconds as JSON.")
    add_line_arguments(parser, "tokenising")
    args = parser.parse_args(argv)
    if args.once:
        datasets.disable_progress_bars()
        print(json.dumps({"seconds": run_once(args.rows, args.processes)}))
        return 0
    args.processes = args.processes or os.cpu_count()
    measure_or_show(args, measure, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
