"""`lane push`: a finished run's model, with its card, to the Hub."""

import argparse
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ..errors import InputError
from .output import add_json_argument, say_result


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("push", help="upload a run's model and its card to the Hub")
    parser.add_argument("run_dir", help="output_dir of the training run")
    add_options(parser, "the folder's name, in your own namespace")
    parser.set_defaults(run=run)


def add_options(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the options of an upload, with what its repository is called by default, in words."""
    parser.add_argument("--repo_id", help=f"such as user/model (default: {default})")
    parser.add_argument("--private", action="store_true", help="make a private repository, if it has to be made")
    parser.add_argument("--revision", help="a branch instead of the main one")
    parser.add_argument("--baseline", help="output_dir of ordinary fine-tuning on the same data, for the card")
    parser.add_argument(
        "--language", help="for the card: of the texts, such as en (default: as is known of a named data set)"
    )
    parser.add_argument("--license", help="for the card: of the model, such as apache-2.0")
    parser.add_argument("--dry_run", action="store_true", help="only write the card and say what would be uploaded")
    add_json_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    words, facts = upload(arguments)
    say_result(arguments, words, facts)


def upload(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Write the card and upload the model. A card that was not written here, or was changed since, stays as it is.

    Args:
        arguments: `run_dir` and the options of [`add_options`].

    Returns:
        What was done, in words and as facts: `card` and `files` after a dry run, else `repo_id` and `commit`.

    Raises:
        InputError: the folder holds no finished run with its model, or the Hub takes no such name.
        HubError: the Hub refused, or could not be reached.
    """
    from ..hub.card_file import write_card
    from ..hub.upload import ARGUMENTS_FILE, CARD_FILE, MODEL_FILES, check_repo_id, hub_errors_named, upload_model

    folder = Path(arguments.run_dir)
    name = arguments.repo_id or folder.absolute().name
    card = _card(folder, arguments)
    check_repo_id(name, "--repo_id")
    patterns = [*MODEL_FILES, ARGUMENTS_FILE]
    files = sorted(path.name for path in folder.iterdir() if any(fnmatch(path.name, each) for each in patterns))
    if not any(each.endswith(".safetensors") for each in files) or "config.json" not in files:
        raise InputError(f"{folder}: it holds no model (config.json and model.safetensors): the run is not done")
    if card is not None:
        write_card(folder, card)
    files = [CARD_FILE, *files]
    written = f"{'Card as it is' if card is None else 'Written'}: {folder / CARD_FILE}"
    if arguments.dry_run:
        words = f"{written}. Would be uploaded: {', '.join(files)}"
        return words, {"card": str(folder / CARD_FILE), "files": files}
    from huggingface_hub import HfApi

    with hub_errors_named(f"{name} could not be uploaded", f"The model is complete in {folder}: try again"):
        made = HfApi().create_repo(name, private=arguments.private or None, exist_ok=True)
        done = upload_model(folder, made.repo_id, commit_message="Upload with lane push", revision=arguments.revision)
    return f"{written}. Uploaded: {done.commit_url}", {"repo_id": made.repo_id, "commit": done.oid}


def _card(folder: Path, arguments: argparse.Namespace) -> str | None:
    """Return the card of a run; None if there is one that stays: a trainer's in Python, or one that people changed."""
    from ..hub.card import render
    from ..hub.card_file import is_changed
    from ..hub.upload import CARD_FILE
    from ..report.run_record import ISSUES_FILE
    from ..run_card import facts_of_run

    given = {"language": arguments.language, "license": arguments.license}
    is_run = (folder / ISSUES_FILE).exists()
    if (folder / CARD_FILE).is_file() and (not is_run or is_changed(folder)):
        why = "it was changed by hand" if is_run else "the folder holds no run of lane train"
        for name, value in {**given, "baseline": arguments.baseline}.items():
            if value:
                raise InputError(
                    f"{folder / CARD_FILE} stays as it is ({why}): leave --{name} out, or remove the file"
                    + (" for a new card" if is_run else "")
                )
        return None
    facts = facts_of_run(folder, arguments.repo_id, arguments.baseline)
    facts.extra |= {name: value for name, value in given.items() if value}
    return render(facts)
