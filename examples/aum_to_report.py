"""From the csv file of the `aum` package to lane_hf's HTML report.

Shows: whoever trains with a loop of their own and `AUMCalculator(compressed=False)` gets the report without training
anew: `issues_from_margins` makes a label table of `full_aum_records.csv`, `write_report` a page that works offline.

    pip install "lane_hf[report]"
    python examples/aum_to_report.py full_aum_records.csv --label_names negative neutral positive
    pip install aum
    python examples/aum_to_report.py --demo               # writes such a csv first, on scikit-learn's digits

What margins do not show is missing in the report: probabilities of labels, and suggestions where the csv does not name
the other logit. On the command line: lane report --margins full_aum_records.csv --output report.html
Takes (--demo): 15 s of processor time; 85% of the rows that look mislabelled are.
"""

import argparse
import sys
from pathlib import Path

from lane_hf import InputError
from lane_hf.datasets.tables import read_table
from lane_hf.report.from_margins import issues_from_margins
from lane_hf.report.html import write_report


def demo_csv(folder):
    """Train a small network on digits, a fifth of them with a wrong label, and return the csv and who was spoiled."""
    import torch
    from sklearn.datasets import load_digits

    from lane_hf.noise import inject

    try:
        from aum import AUMCalculator
    except ImportError as error:
        raise InputError("--demo needs the aum package: pip install aum") from error
    pictures, digits = load_digits(return_X_y=True)
    labels, flipped = inject(digits, "uniform", rate=0.2, seed=1)
    inputs, targets = torch.tensor(pictures / 16, dtype=torch.float32), torch.tensor(labels)
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    folder.mkdir(parents=True, exist_ok=True)
    calculator = AUMCalculator(str(folder), compressed=False)
    for _ in range(10):
        for rows in torch.randperm(len(inputs)).split(64):
            logits = model(inputs[rows])
            calculator.update(logits.detach(), targets[rows], rows.tolist())
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, targets[rows]).backward()
            optimizer.step()
    calculator.finalize()
    return folder / "full_aum_records.csv", flipped


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", nargs="?", type=Path, help="full_aum_records.csv, or any table of margins per epoch")
    parser.add_argument("--demo", action="store_true", help="make the csv, in aum_output, instead of reading one")
    parser.add_argument("--label_names", nargs="+", help="names of the labels, if the csv has numbers")
    parser.add_argument("--output", type=Path, default=Path("aum_output/report.html"), help="the HTML file")
    options = parser.parse_args(argv)
    if (options.csv is None) == (not options.demo):
        parser.error("give either a csv or --demo")
    if options.output.suffix.lower() not in (".html", ".htm"):  # a table given by mistake would be overwritten
        parser.error(f"{options.output}: the report is HTML, name a file ending in .html")

    options.output.parent.mkdir(parents=True, exist_ok=True)
    csv, flipped = demo_csv(options.output.parent) if options.demo else (options.csv, None)
    table = read_table(csv)
    try:
        record = issues_from_margins(table, options.label_names)
    except InputError as error:
        raise InputError(f"{csv}: {error}") from error
    issues = record.issues
    rate = issues.noise_rate()
    print(f"{len(issues)} rows in {len(record.margins)} epochs, {issues['is_issue'].sum()} look mislabelled")
    print(f"Estimated share of wrong labels: {rate.estimate:.1%} ({rate.low:.1%} to {rate.high:.1%})")
    if flipped is not None:
        marked = issues.loc[issues["is_issue"], "row_id"].to_numpy()
        print(f"Spoiled: {flipped.mean():.1%}; of the rows that look mislabelled, {flipped[marked].mean():.1%} are")
    print(f"Report: {write_report(record, options.output)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
