"""Language models as labellers: few-shot classification with wrong labels among the examples, one JSON line a run.

    python benchmarks/llm_fewshot.py --data_dir DATA --datasets trec --noise clean uniform:0.4 --repeats 3 \
        --model meta-llama/Llama-2-13b-chat-hf --output fewshot.jsonl
    OPENAI_API_KEY=... python benchmarks/llm_fewshot.py --data_dir DATA --datasets trec --noise clean uniform:0.4 \
        --server https://api.openai.com/v1 --model gpt-4o-mini --price_in 0.15 --price_out 0.6 --max_cost 5 \
        --output fewshot.jsonl

Data, noises and lines are those of `accuracy.py`, and `accuracy_table.py` shows them. Each test row is put to the
model below examples out of the training rows, drawn anew for each repeat, in proportion to the labels; the noise is
that of the examples' labels, so `uniform:0.4` makes 40 of 100 wrong. All repeats label the same test rows.

A model on this machine answers with the label that is most probable as a whole, so it cannot answer anything else. A
server answers in words; an answer that names no label, or several, is wrong and counted as unparsed.

Cells that stand in the output are skipped, and answers are kept beside it in `NAME.cache.jsonl`: a killed run goes on
where it was, and pays for nothing twice. There is no choice among epochs here: `validation_accuracy` is null, and what
the tables call the best epoch is the only one.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import transformers
from accuracy import KEY, environment, load, spoil
from datasets import DatasetDict, disable_progress_bars
from llm.cache import AnswerCache
from llm.local import LocalLabeller, load_model
from llm.prompts import Example, Labelled, Task
from llm.sampling import draw_examples, draw_test_rows
from llm.server import Prices, ServerError, ServerLabeller, check_address, count_unparsed, read_key
from sklearn.metrics import f1_score

from lane_hf.display import first_line, quoted
from lane_hf.errors import InputError
from lane_hf.label_space import GEOMETRIES
from lane_hf.noise import FLIPPED_COLUMN

KINDS = ("shuffle", "uniform", "pair", *(f"semantic-{name}" for name in GEOMETRIES if name != "none"))
FOR_SERVERS = ("price_in", "price_out", "max_cost", "requests_per_minute", "timeout")
FOR_LOCAL_MODELS = ("normalise", "batch_size")
ABOVE_ZERO = (
    "examples",
    "repeats",
    "max_test_rows",
    "max_prompt_tokens",
    "batch_size",
    "requests_per_minute",
    "timeout",
)
FROM_ZERO = ("price_in", "price_out", "max_cost")


class Parser(argparse.ArgumentParser):
    """Reports what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise, instead of showing the usage."""
        raise InputError(message)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--datasets", nargs="+", required=True)
    parser.add_argument("--noise", nargs="+", default=["clean", "uniform:0.2", "uniform:0.4"])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model", required=True, help="A folder or Hub id, or the server's name for a model.")
    parser.add_argument("--examples", type=int, help="How many there are in the prompt; default 100, with --long 10.")
    parser.add_argument("--long", action="store_true", help="Texts are long: 10 examples by default.")
    parser.add_argument("--repeats", type=int, default=3, help="Seeds 1, 2, ...")
    parser.add_argument("--max_test_rows", type=int, default=500)
    parser.add_argument("--max_prompt_tokens", type=int, help="Leave out examples above this; default: what fits.")
    local = parser.add_argument_group("models on this machine")
    local.add_argument("--normalise", choices=["sum", "mean"], help="Of a label's log-probabilities; default sum.")
    local.add_argument("--batch_size", type=int, help="Labels that are scored at once; default 8.")
    server = parser.add_argument_group("models on a server; the key comes from OPENAI_API_KEY")
    server.add_argument("--server", help="Address of an OpenAI-compatible server, such as https://api.openai.com/v1")
    server.add_argument("--price_in", type=float, help="Of a million tokens of prompts.")
    server.add_argument("--price_out", type=float, help="Of a million tokens of answers.")
    server.add_argument("--max_cost", type=float, help="Do not start if the estimate is above this.")
    server.add_argument("--requests_per_minute", type=float)
    server.add_argument("--timeout", type=float, help="Seconds until a request counts as failed; default 60.")
    args = parser.parse_args(argv)
    check(args)
    args.examples = args.examples or (10 if args.long else 100)
    return args


def check(args: argparse.Namespace) -> None:
    for name in (*ABOVE_ZERO, *FROM_ZERO):
        value = getattr(args, name)
        if value is not None and not (0 < value < float("inf") or (value == 0 and name in FROM_ZERO)):
            raise InputError(f"--{name} must be {'0 or more' if name in FROM_ZERO else 'above 0'}, got {value:g}")
    for name in FOR_LOCAL_MODELS if args.server else FOR_SERVERS:
        if getattr(args, name) is not None:
            raise InputError(f"--{name} is for models {'on this machine' if args.server else 'on a server'} only")
    if (args.price_in is None) != (args.price_out is None):
        raise InputError("give both --price_in and --price_out, or neither")
    if args.max_cost is not None and args.price_in is None:
        raise InputError("--max_cost needs --price_in and --price_out")
    for noise in args.noise:
        check_noise(noise)
    if args.server:
        check_address(args.server)
        read_key()


def check_noise(noise: str) -> None:
    kind, _, rate = noise.partition(":")
    try:
        if noise == "clean" or (kind in KINDS and 0 <= float(rate) <= 1):
            return
    except ValueError:
        pass
    raise InputError(
        f"--noise {quoted(noise)}: expected clean or KIND:RATE with a rate from 0 to 1 and one of {', '.join(KINDS)}"
    )


def make_cells(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the cells that do not stand in the output yet."""
    method = f"fewshot[{Path(args.model).name},examples={args.examples}]"
    settings = f"max_test_rows={args.max_test_rows},"
    settings += "answers=written" if args.server else f"scores={args.normalise or 'sum'}"
    settings += f",max_prompt_tokens={args.max_prompt_tokens}" if args.max_prompt_tokens else ""
    done = read_keys(args.output)
    cells = []
    for dataset, noise, seed in itertools.product(args.datasets, args.noise, range(1, args.repeats + 1)):
        cell = {"dataset": dataset, "noise": noise, "method": method, "seed": seed, "settings": settings}
        if tuple(cell[name] for name in KEY) not in done:
            cells.append(cell)
    return cells


def read_keys(output: Path) -> set[tuple[Any, ...]]:
    """Return the cells that stand in the output; make sure that it can be written."""
    try:
        with output.open("a+") as file:
            file.seek(0)
            lines = file.read().splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{output}: cannot be read and written ({first_line(error)})") from error
    done = set()
    for number, line in enumerate(lines, start=1):
        try:
            done.add(tuple(json.loads(line)[name] for name in KEY))
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{output}, line {number}: not a line of this benchmark: remove it") from None
    return done


def make_task(cell: dict[str, Any], args: argparse.Namespace) -> Task:
    """Draw a cell's examples, spoil their labels, and take the test rows."""
    data = load(args.data_dir / cell["dataset"], None)
    if "label" not in data["test"].column_names:
        raise InputError(f"{args.data_dir / cell['dataset'] / 'test.csv'}: the test rows need labels")
    names = data["train"].features["label"].names
    drawn = draw_examples(data["train"]["label"], len(names), args.examples, cell["seed"])
    shown = data["train"].select(drawn)
    shown = DatasetDict({"train": shown, "validation": shown})
    shown = spoil(shown, cell["noise"], cell["seed"], cell["dataset"])["train"]
    is_flipped = shown[FLIPPED_COLUMN] if FLIPPED_COLUMN in shown.column_names else [False] * len(shown)
    columns = zip(shown["text"], shown["label"], is_flipped, strict=True)
    test = data["test"].select(draw_test_rows(len(data["test"]), args.max_test_rows))
    return Task(
        about=f"{cell['dataset']} {cell['noise']} seed {cell['seed']}",
        names=names,
        examples=[Example(text, names[label], flipped) for text, label, flipped in columns],
        texts=list(test["text"]),
        labels=list(test["label"]),
    )


def make_labeller(tasks: list[Task], args: argparse.Namespace, cache: AnswerCache) -> LocalLabeller | ServerLabeller:
    """Return what labels; for a server say what that will cost, and stop if it is too much."""
    if not args.server:
        model, tokenizer = load_model(args.model)
        given = {name: getattr(args, name) for name in FOR_LOCAL_MODELS if getattr(args, name) is not None}
        return LocalLabeller(model, tokenizer, cache, max_prompt_tokens=args.max_prompt_tokens, **given)
    prices = None if args.price_in is None else Prices(args.price_in, args.price_out)
    labeller = ServerLabeller(
        args.server,
        args.model,
        cache,
        prices=prices,
        per_minute=args.requests_per_minute,
        timeout=args.timeout or 60.0,
        max_prompt_tokens=args.max_prompt_tokens,
    )
    estimate = labeller.estimate(tasks)
    print(f"{len(tasks)} cells: {estimate}", flush=True)
    if args.max_cost is not None and estimate.cost > args.max_cost:
        raise InputError(
            f"the estimated cost of {estimate.cost:.2f} is above --max_cost {args.max_cost:g}: nothing sent"
        )
    return labeller


def scores_of(labelled: Labelled, task: Task) -> dict[str, Any]:
    """Return accuracy and macro-F1; an answer that is no label is wrong, but no class of its own."""
    truth, found = np.asarray(task.labels), np.asarray(labelled.predictions)
    classes = [label for label in range(len(task.names)) if label in truth or label in found]
    macro = f1_score(truth, found, labels=classes, average="macro", zero_division=0)
    scores = {"test_accuracy": float((truth == found).mean()), "test_f1_macro": float(macro)}
    return {"epochs": [{"epoch": 0, "validation_accuracy": None, **scores}]}


def run_cell(cell: dict[str, Any], task: Task, labeller: Any, args: argparse.Namespace) -> dict[str, Any]:
    started = time.perf_counter()
    labelled = labeller.label(task)
    about = environment(args)
    about["versions"]["scikit-learn"] = version("scikit-learn")
    if args.server:
        about["versions"]["openai"] = version("openai")
        about["device"] = check_address(args.server)
    return {
        **cell,
        **scores_of(labelled, task),
        "requests": labelled.requests,
        "cached": labelled.cached,
        "unparsed": count_unparsed(labelled),
        "test_rows": len(task.texts),
        "examples_used": sum(labelled.shown) / len(labelled.shown),
        "examples_least": min(labelled.shown),
        "examples_mislabelled": sum(example.is_flipped for example in task.examples),
        "cost": labelled.cost,
        "seconds": time.perf_counter() - started,
        **about,
    }


def run(args: argparse.Namespace) -> None:
    cells = make_cells(args)
    if not cells:
        return
    # All of them first: what is wrong with the last cell's data should not show after hours, or after paying.
    tasks = [make_task(cell, args) for cell in cells]
    cache = AnswerCache(args.output.with_suffix(".cache.jsonl"))
    labeller = make_labeller(tasks, args, cache)
    for cell, task in zip(cells, tasks, strict=True):
        line = run_cell(cell, task, labeller, args)
        with args.output.open("a") as file:
            file.write(json.dumps(line) + "\n")
        scores = line["epochs"][0]
        print(
            f"{task.about} {cell['method']}: {scores['test_accuracy']:.3f} / {scores['test_f1_macro']:.3f}, "
            f"{line['requests']} requests, {line['cached']} cached, {line['unparsed']} unparsed, "
            f"{line['seconds']:.0f} s",
            flush=True,
        )
    cache.close()


def main(argv: Sequence[str] | None = None) -> int:
    # What stands on stderr is warnings and errors.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    disable_progress_bars()
    try:
        run(parse(argv))
    except (InputError, ServerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
