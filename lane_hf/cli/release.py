"""`lane release`: the checkpoints that this project means to release: list, train, write a card, push."""

import argparse
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..release import RUNS
from . import push
from .output import add_json_argument, as_json, say, say_result, say_table

_CARDS = "model_cards"
_MORE = "Further arguments are those of lane train (see lane train --help) and override the recipe."


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("release", help="checkpoints with a recipe: list, train, card, push")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")

    list_ = actions.add_parser("list", help="list the recipes, and which are trained or released")
    add_json_argument(list_)
    list_.set_defaults(run=run_list)

    train = actions.add_parser("train", help="train a checkpoint from its recipe", epilog=_MORE)
    train.add_argument("name", help="of the recipe, such as goemotions-bert")
    train.add_argument("--data_dir", help="folder with the files of the data set, where it is not on the Hub")
    train.add_argument("--output_dir", help=f"where everything is written (default: {RUNS}/NAME)")
    train.set_defaults(run=run_train, more=[])

    card = actions.add_parser("card", help="write model cards: from a run, or marked as not yet trained")
    card.add_argument("names", nargs="*", metavar="NAME", help="recipes (default: all)")
    card.add_argument("--run_dir", help=f"output_dir of the training (default: {RUNS}/NAME, if that is done)")
    card.add_argument("--baseline", help="output_dir of the same recipe with --method plain, for the card")
    card.add_argument("--cards_dir", default=_CARDS, help=f"where NAME.md is written (default: {_CARDS})")
    add_json_argument(card)
    card.set_defaults(run=run_card)

    upload = actions.add_parser("push", help="upload a trained checkpoint and its card to the Hub")
    upload.add_argument("name", help="of the recipe")
    upload.add_argument("--run_dir", help=f"output_dir of the training (default: {RUNS}/NAME)")
    push.add_options(upload, "the recipe's repository, else its name in your own namespace")
    upload.set_defaults(run=run_push)


def run_list(arguments: argparse.Namespace) -> None:
    """List the recipes."""
    from ..release import recipes
    from ..release.released import RELEASED

    found = [recipes.recipe(name) for name in recipes.names()]
    keys = ("name", "dataset", "encoder", "data", "status")
    rows = [
        (each.name, each.dataset, each.encoder, "files" if each.needs_files else "hub", _status(each.name))
        for each in found
    ]
    if arguments.json:
        repos = {name: release.repo_id for name, release in RELEASED.items()}
        say(as_json([{**dict(zip(keys, row, strict=True)), "repo": repos.get(row[0])} for row in rows]))
    else:
        say_table([keys, *rows])


def _status(name: str) -> str:
    from ..release.recipe_card import is_done
    from ..release.released import RELEASED

    if name in RELEASED:
        return "released"
    return f"trained in {RUNS / name}" if is_done(RUNS / name) else "not trained"


def run_train(arguments: argparse.Namespace) -> int:
    """Train from a recipe: the main job, with its messages and its exit status."""
    from ..release.recipes import recipe
    from ..run import main as train

    found = recipe(arguments.name)
    files = ["--data_dir", arguments.data_dir] if arguments.data_dir else []
    output = ["--output_dir", arguments.output_dir or str(RUNS / found.name)]
    return train([*found.words, *files, *output, *arguments.more], program=f"lane release train {found.name}")


def run_card(arguments: argparse.Namespace) -> None:
    """Write cards."""
    from ..release import recipes
    from ..release.recipe_card import card_of_recipe, card_of_run, is_done

    names = list(dict.fromkeys(arguments.names)) or recipes.names()
    for option, folder in (("--run_dir", arguments.run_dir), ("--baseline", arguments.baseline)):
        if folder and len(names) > 1:
            raise InputError(f"{option} is the folder of one run: name its recipe, got {len(names)} names")
    cards = {}
    for found in map(recipes.recipe, names):
        # A folder that was named must be a run; the one that is looked for need not be there.
        folder = Path(arguments.run_dir or RUNS / found.name)
        is_run = bool(arguments.run_dir) or is_done(folder)
        if arguments.baseline and not is_run:
            raise InputError(
                f"{folder}: there is no run whose card could name the baseline: train it with {found.command}"
            )
        cards[found.name] = card_of_run(found, folder, arguments.baseline) if is_run else card_of_recipe(found)
    target = Path(arguments.cards_dir)
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: it is no folder: name one for --cards_dir")
    target.mkdir(parents=True, exist_ok=True)
    paths = [target / f"{name}.md" for name in cards]
    for path, text in zip(paths, cards.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    say_result(arguments, f"Written: {', '.join(map(str, paths))}", {"cards": [str(path) for path in paths]})


def run_push(arguments: argparse.Namespace) -> None:
    """Upload a checkpoint, and say what to note down about it."""
    from ..hub.card_facts import scores_of
    from ..packaged_model import sha256_of
    from ..release.recipe_card import check_run
    from ..release.recipes import recipe
    from ..release.released import WEIGHTS

    found = recipe(arguments.name)
    arguments.run_dir = arguments.run_dir or str(RUNS / found.name)
    arguments.repo_id = arguments.repo_id or found.repo or found.name
    record = check_run(found, arguments.run_dir)
    words, facts = push.upload(arguments)
    if not arguments.dry_run:
        scores = scores_of(record.metrics).get("test", {})
        facts["sha256"] = sha256_of(Path(arguments.run_dir) / WEIGHTS)
        facts["metrics"] = {name: round(value, 4) for name, value in scores.items()}
    say_result(arguments, words, facts)
    if not arguments.dry_run and not arguments.json:
        values = (facts["repo_id"], facts["commit"], facts["sha256"], facts["metrics"])
        entry = f'"{found.name}": Release({", ".join(map(repr, values))}),'
        say(f"To release it, set repo in its recipe, and add to RELEASED in lane_hf/release/released.py:\n    {entry}")
