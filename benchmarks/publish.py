"""Make the tables and figures of the documents anew, from the lines in `benchmarks/results/`.

    python benchmarks/publish.py               write them into the documents
    python benchmarks/publish.py --check       write nothing: name what the lines would change, and fail if they would

This is the list of every table between marks (`<!-- table: NAME -->`) and of the figures of lines, with the options.
Not in it are the figure of `weights.py`, whose label tables are not part of the repository, and what has no lines: the
tables of `noise_fit.py`, `traffic.py`, `buffer.py` and `augmentation.py`, which are copies of what these print.
"""

import argparse
import contextlib
import importlib
import itertools
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

ROOT = Path(__file__).parents[1]
RESULTS = "benchmarks/results"
METHODS, CALIBRATION = "docs/reference/methods.md", "docs/reference/calibration"
DEFAULTS, PERFORMANCE = "docs/explanation/paper-and-defaults.md", "docs/explanation/performance.md"
GRID = f"{RESULTS}/accuracy.jsonl"
AT_RANDOM = "--datasets trec sst5 goemotions --noise clean uniform:0.2 uniform:0.4 --defaults_only"
LOSING = "hmw gce peer-loss scl"
DRAWN = "aum hmw self-mix co-teaching label-interpolation paper"

PUBLISHED: tuple[tuple[str, str], ...] = (
    ("accuracy_table", f"{GRID} --defaults_only --into {METHODS} --name methods"),
    ("accuracy_table", f"{GRID} --together {AT_RANDOM} --into {METHODS} --name together"),
    (
        "accuracy_table",
        f"{GRID} --overview --noise uniform:0.4 --seeds 1 --methods plain {LOSING} --into {METHODS} "
        "--name second-look",
    ),
    ("accuracy_table", f"{GRID} --summary --defaults_only --into README.md --name summary"),
    (
        "accuracy_table",
        f"{GRID} --overview --noise uniform:0.4 --methods plain lane --into {DEFAULTS} --name overview",
    ),
    ("accuracy_table", f"{RESULTS}/attempts.jsonl --overview --noise uniform:0.4 --into {DEFAULTS} --name attempts"),
    ("accuracy_table", f"{RESULTS}/human.jsonl --summary --into {DEFAULTS} --name human"),
    (
        "accuracy_table",
        f"{GRID} --draw rates {AT_RANDOM} --methods plain lane {DRAWN} --figure docs/reference/accuracy-rates.svg",
    ),
    (
        "accuracy_table",
        f"{GRID} --draw epochs {AT_RANDOM} --methods plain lane --figure docs/explanation/accuracy-epochs.svg",
    ),
    (
        "calibration",
        f"--show {RESULTS}/calibration.jsonl --into {CALIBRATION}.md --figure {CALIBRATION}.svg",
    ),
    ("detection", f"--show {RESULTS}/detection.jsonl --into docs/reference/detection.md"),
    ("cost", f"--show {RESULTS}/cost.jsonl --into {METHODS}"),
    ("cost", f"--show {RESULTS}/cost-auxiliary.jsonl --into {PERFORMANCE} --name cost-auxiliary"),
    ("cost", f"--show {RESULTS}/cost-views.jsonl --into {PERFORMANCE} --name cost-views"),
    ("cost", f"--show {RESULTS}/cost-sizes.jsonl --into {PERFORMANCE} --name cost-sizes"),
    (
        "step_split",
        f"--show {RESULTS}/step-split.jsonl --into {PERFORMANCE} --figure docs/explanation/step-split.svg",
    ),
    ("aum_update", f"--show {RESULTS}/aum-update.jsonl --into {PERFORMANCE}"),
    ("operations", f"--show {RESULTS}/operations.jsonl --into {PERFORMANCE}"),
    ("throughput", f"--show {RESULTS}/throughput.jsonl --into {PERFORMANCE}"),
    ("throughput", f"--show {RESULTS}/throughput-bert-base.jsonl --into {PERFORMANCE} --name throughput-bert-base"),
    ("tokenising", f"--show {RESULTS}/tokenising.jsonl --into {PERFORMANCE}"),
    ("growth", f"--show {RESULTS}/growth.jsonl --into {PERFORMANCE} --figure docs/explanation/growth.svg"),
    ("ranks", f"--show {RESULTS}/ranks.jsonl --into {PERFORMANCE} --figure docs/explanation/ranks.svg"),
)


def publish(root: Path) -> None:
    """Run every command of `PUBLISHED` in a folder that holds `README.md`, `docs` and `benchmarks/results`.

    Raises:
        RuntimeError: a command failed; it has said why.
    """
    with contextlib.chdir(root):
        for script, arguments in PUBLISHED:
            if importlib.import_module(script).main(arguments.split()) != 0:
                raise RuntimeError(f"{script}.py {arguments}: failed")


def targets() -> list[str]:
    """Return the documents and figures that are written, without repeats."""
    words = [arguments.split() for _, arguments in PUBLISHED]
    options = ("--into", "--figure")
    return list(dict.fromkeys(b for each in words for a, b in itertools.pairwise(each) if a in options))


def stale(root: Path) -> list[str]:
    """Return the documents and figures below a folder that are not what the lines make of them."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copy(root / "README.md", copy)
        for name in ("docs", RESULTS):
            shutil.copytree(root / name, copy / name)
        publish(copy)
        return [name for name in targets() if (copy / name).read_bytes() != (root / name).read_bytes()]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="Write nothing; exit with 1 if anything would change.")
    args = parser.parse_args(argv)
    if not args.check:
        publish(ROOT)
        return 0
    found = stale(ROOT)
    for name in found:
        print(f"{name}: not what its lines make; run python benchmarks/publish.py")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
