"""What does the fit cost with which every epoch of the default weighting begins?

    python benchmarks/noise_fit.py --rows 5e3 1e5 1e6

Rows are drawn as a classifier sees them that has learned what its labels say: with 40% uniform noise, and with 40% of
the labels replaced by the next one, for which the fit goes through all its rounds. Processor time of one core.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from lane_hf import mixture
from lane_hf.margins import margin
from lane_hf.noise_probability import estimate_noise


def learned(rows: int, num_labels: int, shift: float, uniform: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return margins, probabilities of the given labels, these labels and the best other ones, `[rows]` each."""
    generator = torch.Generator().manual_seed(0)
    true = torch.randint(0, num_labels, (rows,), generator=generator)
    transition = (1 - shift - uniform) * torch.eye(num_labels) + uniform / num_labels
    transition = transition + shift * torch.eye(num_labels).roll(1, dims=1)
    labels = torch.multinomial(transition[true], 1, generator=generator).squeeze(1)
    logits = transition[true].clamp_min(0.02).log() + 0.3 * torch.randn(rows, num_labels, generator=generator)
    margins, others = margin(logits, labels)
    return margins, logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1), labels, others


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", type=float, default=[5e3, 1e5, 1e6])
    parser.add_argument("--labels", type=int, default=10)
    parser.add_argument(
        "--row_by_row", action="store_true", help="Also where there are so many that chunks are fitted."
    )
    args = parser.parse_args(argv)
    if args.row_by_row:
        mixture._MOST_ROWS = sys.maxsize
    torch.set_num_threads(1)
    for rows in map(int, args.rows):
        for noise, (shift, uniform) in {"uniform": (0.0, 0.4), "next label": (0.4, 0.05)}.items():
            margins, confidence, labels, others = learned(rows, args.labels, shift, uniform)
            before = time.process_time()
            estimate_noise(margins, confidence, labels, args.labels, others)
            seconds = time.process_time() - before
            print(json.dumps({"rows": rows, "labels": args.labels, "noise": noise, "seconds": round(seconds, 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
