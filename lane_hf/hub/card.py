"""Model cards: markdown with metadata for the Hub, from facts."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult, ModelCardData

from ..display import printable
from ..packaged_model import hub_id_of
from .card_facts import (
    CardFacts,
    departures_of,
    emissions_in,
    hardware_in_words,
    label_facts,
    option_facts,
    scores_of,
    training_facts,
    versions_here,
)

if TYPE_CHECKING:
    from jinja2 import Template

TAGS = ("lane_hf", "noisy-labels")
_TASK = "text-classification"
_TEMPLATE = Path(__file__).with_name("template") / "model_card.md.jinja"
_MOST_LABELS = 40


def render(facts: CardFacts) -> str:
    """Return a model card.

    Args:
        facts: what it may say. What is missing is left out, not guessed.

    Returns:
        Markdown that begins with metadata as the Hub wants it.

    Example:
        >>> print(render(CardFacts("user/model", "lane", None, ["joy", "fear"])).splitlines()[0])
        ---
    """
    template = read_template(_TEMPLATE)
    text = template.render(facts=facts, metadata=metadata_of(facts), most_labels=_MOST_LABELS)
    return text.strip() + "\n"


def read_template(path: Path) -> "Template":
    """Return the template in a file, with the filter `cell` for whatever comes from data."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # PyTorch brings it

    environment = Environment(  # noqa: S701 -- markdown: what comes from data is cleaned by `cell`
        loader=FileSystemLoader(path.parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = _cell
    return environment.get_template(path.name)


def metadata_of(facts: CardFacts) -> str:
    """Return the metadata of a card, YAML: base model, data set, tags, results, as far as they are known."""
    extra = facts.extra
    results = None
    if facts.scores and facts.dataset:
        kind = facts.dataset_id or "local"
        results = [
            EvalResult(
                task_type=_TASK,
                dataset_type=kind,
                dataset_name=facts.dataset,
                dataset_split=split,
                metric_type={"Accuracy": "accuracy"}.get(name, "f1"),
                metric_name=name,
                metric_value=round(value, 4),
            )
            for split, values in facts.scores.items()
            for name, value in values.items()
        ]
    grams = None if facts.emissions is None else 1000 * facts.emissions
    emissions: dict[str, Any] = {} if grams is None else {"co2_eq_emissions": {"emissions": grams}}
    data = ModelCardData(
        language=extra.get("language"),
        license=extra.get("license"),
        library_name="transformers",
        pipeline_tag=_TASK,
        base_model=facts.base_model,
        datasets=[facts.dataset_id] if facts.dataset_id else None,
        tags=list(dict.fromkeys([*TAGS, *_as_list(extra.get("tags"))])),
        model_name=facts.name.split("/")[-1] if results else None,
        eval_results=results,
        **emissions,
    )
    return str(data.to_yaml()).strip()


def card_of_trainer(trainer: Any, given: dict[str, Any]) -> str:
    """Return the card of a trainer's model.

    Args:
        trainer: a [`RowTrainer`].
        given: what its user says: `language`, `license`, `tags`, `model_name`, `finetuned_from`, `dataset`.

    Example:
        >>> text = card_of_trainer(trainer, {"language": "en", "dataset": "my emotions"})  # doctest: +SKIP
    """
    args, history = trainer.args, trainer.state.log_history
    settings = args.to_dict()
    method = _method_of(trainer)
    options = option_facts(type(trainer).config_class, settings)
    trained = trainer.row_statistics is not None
    dataset = given.get("dataset")
    facts = CardFacts(
        name=given.get("model_name") or trainer.hub_model_id or Path(args.output_dir).absolute().name,
        method=method,
        labels=label_facts(trainer.label_issues(), None) if trained else None,
        label_names=[str(name) for name in trainer.model.config.id2label.values()],
        base_model=given.get("finetuned_from") or hub_id_of(getattr(trainer.model.config, "_name_or_path", None)),
        dataset=dataset,
        scores=scores_of({name: value for entry_ in history for name, value in entry_.items()}),
        training=training_facts(settings),
        options=options,
        departures=departures_of(options) if method == "lane" else {},
        versions=versions_here(),
        hardware=hardware_in_words(),
        seconds=next((line["train_runtime"] for line in reversed(history) if "train_runtime" in line), None),
        emissions=emissions_in(args.output_dir),
        extra=given,
    )
    return render(facts)


def _method_of(trainer: Any) -> str:
    """Return what the method of a trainer is called; a class of the user's own is called by its name."""
    kind = type(trainer)
    return str(trainer.method_name) if "method_name" in vars(kind) else kind.__name__


def _cell(value: Any) -> str:
    """Return a value as the cell of a markdown table: one line, nothing in it is markup."""
    text = printable(str(value)[:200])
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in text)


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])
