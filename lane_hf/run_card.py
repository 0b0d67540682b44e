"""What the folder of a finished run says about its model, for the model card."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .datasets.registry import entry
from .datasets.registry import names as registered
from .errors import InputError
from .hub.card_facts import (
    TRAINING,
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
from .run_command import GROUPS, command_of, is_local, same

if TYPE_CHECKING:
    import pandas as pd

# What scores depend on beside Trainer's arguments and the training rows, which the label tables show.
_DATA = ("model_name_or_path", "max_length", "dataset", "validation_file", "test_file", "augmentation")
_FREE = ("bf16", "fp16", "seed")  # of the machine, and of chance


def facts_of_run(folder: str | Path, name: str | None = None, baseline: str | Path | None = None) -> CardFacts:
    """Return what the folder of a finished run says about its model.

    Args:
        folder: `output_dir` of `lane train`.
        name: of the model; None takes the folder's.
        baseline: folder of a run of ordinary fine-tuning on the same data with the same settings.

    Raises:
        InputError: there is no such folder, a file in it is damaged, or the baseline is a run of something else.

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
        baseline=scores_of(_baseline(record, baseline).metrics) if baseline else {},
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


def _baseline(record: RunRecord, folder: str | Path) -> RunRecord:
    """Return the run of ordinary fine-tuning that a run may be compared with.

    Raises:
        InputError: the folder holds none.
    """
    baseline = read_run(folder)
    method = baseline.settings.get("RunConfig", {}).get("method")
    if method != "plain":
        kind = f"a run with method {method}" if method else "no run of lane train, which says how it was done"
        raise InputError(
            f"{folder}: a baseline is ordinary fine-tuning (--method plain), but this is {kind}: name another folder"
        )
    if not _rows(baseline).equals(_rows(record)):
        raise InputError(f"{folder}: this baseline was trained on other rows or labels: train it on the same data")
    ours, others = _compared(record.settings), _compared(baseline.settings)
    for name, value in ours.items():
        other = others.get(name)
        if not same(_name(value), _name(other)):
            raise InputError(
                f"{folder}: this baseline has {name} {other}, but the run has {value}: train it with the same settings"
            )
    return baseline


def _rows(record: RunRecord) -> "pd.DataFrame":
    """Return the texts and labels that a run was given, by row; rows that it has not seen have no label."""
    table = record.issues.set_index("row_id").sort_index()
    return table.reindex(columns=["given_label", "text"]).astype("string")


def _compared(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings on which scores depend beside the method."""
    found = {name: value for group in GROUPS for name, value in settings.get(group, {}).items()}
    if "model_name_or_path" in found:
        found["model_name_or_path"] = hub_id_of(found["model_name_or_path"], default=True, is_local=False)
    return {name: found[name] for name in (*_DATA, *TRAINING) if name in found and name not in _FREE}


def _name(value: Any) -> Any:
    return Path(value).name if isinstance(value, str) else value  # the same file or encoder may lie elsewhere


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
