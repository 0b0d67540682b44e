"""What the folder of a finished run says about its model, for the model card."""

from pathlib import Path

from .datasets.registry import entry
from .datasets.registry import names as registered
from .hub.card_facts import (
    CardFacts,
    departures_of,
    detection_of,
    emissions_in,
    injected_noise,
    label_facts,
    option_facts,
    scores_of,
    training_facts,
)
from .methods import METHODS, method_of
from .packaged_model import hub_id_of, is_path
from .report.run_record import RunRecord, read_run
from .run_command import command_of, is_local


def facts_of_run(folder: str | Path, name: str | None = None, baseline: str | Path | None = None) -> CardFacts:
    """Return what the folder of a finished run says about its model.

    Args:
        folder: `output_dir` of `lane train`.
        name: of the model; None takes the folder's.
        baseline: folder of a run of ordinary fine-tuning on the same data.

    Raises:
        InputError: there is no such folder, or a file in it is damaged.

    Example:
        >>> facts_of_run("lane_output").scores["test"]  # doctest: +SKIP
        {'Accuracy': 0.71, 'Macro-F1': 0.7}
    """
    record = read_run(folder)
    settings, versions = record.settings.get("RunConfig", {}), record.settings.get("versions", {})
    method = method_of(settings.get("method", "lane")).name if settings else "lane"
    options = option_facts(METHODS[method].config, settings)
    dataset, dataset_id = _dataset_of(record)
    return CardFacts(
        name=name or Path(folder).absolute().name,
        method=method,
        labels=label_facts(record.issues, injected_noise(record)),
        label_names=record.issues.label_names or [],
        base_model=hub_id_of(
            record.settings.get("ModelArguments", {}).get("model_name_or_path"),
            default=True,
            is_local=is_local(record.settings, "model_name_or_path"),
        ),
        dataset=dataset,
        dataset_id=dataset_id,
        scores=scores_of(record.metrics),
        baseline=scores_of(read_run(baseline).metrics) if baseline else {},
        detection=detection_of(record.metrics),
        training=training_facts(settings),
        options=options,
        departures=departures_of(options) if method == "lane" else {},
        versions={name: str(number) for name, number in versions.items() if number},
        hardware=record.settings.get("hardware"),
        seconds=record.metrics.get("train_runtime"),
        emissions=emissions_in(folder),
        command=command_of(record.settings) if settings else None,
        extra={"language": entry(dataset).language} if dataset in registered() else {},
    )


def _dataset_of(record: RunRecord) -> tuple[str | None, str | None]:
    """Return name and Hub id of a run's data set; a file of the user's is not named."""
    data = record.settings.get("DataArguments", {})
    if not data:
        return None, None
    if data.get("train_file"):
        return "a table that is not public", None
    name = data.get("dataset") or "demo"
    if name in registered():
        return name, entry(name).hub_id
    local = is_local(record.settings, "dataset")
    if is_path(name) if local is None else local:  # a folder of the user's, whose path is nobody's business
        return "a table that is not public", None
    return name, name if "/" in name else None
