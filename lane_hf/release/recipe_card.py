"""The card of a recipe: from a run of it, or, before there is one, from the recipe alone."""

from dataclasses import replace
from pathlib import Path

from ..datasets.registry import entry
from ..errors import InputError
from ..hub.card import metadata_of, read_template, render
from ..hub.card_facts import CardFacts
from ..packaged_model import hub_id_of
from ..report.run_record import ISSUES_FILE, RunRecord, read_run
from ..run_card import facts_of_run
from ..run_command import GROUPS, is_local, same
from . import RUNS, released
from .recipes import Recipe

_TEMPLATE = Path(__file__).with_name("template") / "recipe_card.md.jinja"
# What changes the data or the method, and holds unless the recipe says otherwise.
_UNLESS_SAID = {"method": "lane", "label_noise": 0.0, "max_train_samples": None, "max_steps": -1}


def is_done(folder: str | Path) -> bool:
    """Return whether a folder holds a run with its model and its label table."""
    return all((Path(folder) / name).is_file() for name in (ISSUES_FILE, "config.json", "model.safetensors"))


def card_of_recipe(recipe: Recipe) -> str:
    """Return the card of a checkpoint that nobody has trained yet: what it will be, and how to train it.

    Args:
        recipe: the recipe.

    Returns:
        Markdown that begins with metadata as the Hub wants it. It holds no figure of any result.

    Example:
        >>> from lane_hf.release.recipes import recipe
        >>> "Not yet trained" in card_of_recipe(recipe("goemotions-bert"))
        True
    """
    data = entry(recipe.dataset)
    facts = CardFacts(
        name=recipe.repo or recipe.name,
        method=recipe.arguments.get("method", "lane"),
        labels=None,
        label_names=list(data.label_names),
        base_model=recipe.encoder,
        dataset=data.name,
        dataset_id=data.hub_id,
        extra={"language": data.language},
    )
    template = read_template(_TEMPLATE)
    return template.render(recipe=recipe, data=data, facts=facts, metadata=metadata_of(facts)).strip() + "\n"


def card_of_run(recipe: Recipe, folder: str | Path, baseline: str | Path | None = None) -> str:
    """Return the card of a recipe's checkpoint, from the folder of its run.

    Until the checkpoint is released, the card says that it is not on the Hub, and loads it from the folder where the
    recipe's command leaves it.

    Args:
        recipe: the recipe.
        folder: `output_dir` of its run.
        baseline: `output_dir` of ordinary fine-tuning by the same recipe (`--method plain`), to stand beside it.

    Raises:
        InputError: there is no such run, a file in it is damaged, or it is a run of something else.

    Example:
        >>> text = card_of_run(recipe("goemotions-bert"), "runs/goemotions-bert")  # doctest: +SKIP
    """
    check_run(recipe, folder)
    if baseline is not None:
        check_run(replace(recipe, arguments={**recipe.arguments, "method": "plain"}), baseline)
    facts = facts_of_run(folder, recipe.repo or recipe.name, baseline)
    if recipe.name not in released.RELEASED:
        facts.folder, facts.command = str(RUNS / recipe.name), recipe.command
    return render(facts)


def check_run(recipe: Recipe, folder: str | Path) -> RunRecord:
    """Return what a run has left, if it is a run of the recipe.

    The encoder may come from a folder, for machines that cannot reach the Hub: the card then names none.

    Raises:
        InputError: there is no such run, a file in it is damaged, or it differs from the recipe.
    """
    record = read_run(folder)
    found = {name: value for group in GROUPS for name, value in record.settings.get(group, {}).items()}
    expected = {**_UNLESS_SAID, **recipe.arguments, "model_name_or_path": recipe.encoder}
    local = is_local(record.settings, "model_name_or_path")
    given = hub_id_of(found.get("model_name_or_path"), default=True, is_local=local)
    found["model_name_or_path"] = recipe.encoder if given is None else given
    for name, value in expected.items():
        if not same(found.get(name), value):
            raise InputError(
                f"{folder}: this run has {name} {found.get(name)}, but the recipe {recipe.name} has {value}, so it is "
                f"no run of the recipe. Train that with {recipe.command}"
            )
    return record
