"""How many inputs are tried, and what a refusal may say."""

import os
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from datasets import DatasetDict
from hypothesis import HealthCheck, settings

from lane_hf import InputError
from lane_hf.run_arguments import DataArguments
from lane_hf.run_data import prepare_data
from lane_hf.summary import printable

EXCERPT = 40  # no message shows more characters of a cell
FACTOR = int(os.environ.get("LANE_HF_FUZZ_FACTOR", "1"))  # for long runs: so many times as many inputs


def tries(number: int) -> settings:
    """Return hypothesis settings for so many inputs, times `LANE_HF_FUZZ_FACTOR`."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(max_examples=number * FACTOR, suppress_health_check=slow)


def read(path: Path, cells: Iterable[str] = (), **columns: Any) -> DatasetDict | InputError:
    """Read a file as training and as test data, and check the refusal if it is refused.

    Args:
        path: the file.
        cells: what was written into it, of which a refusal may show little.
        **columns: `text_column` and the like, where they are named.

    Returns:
        The splits, or the error; any other exception is passed on.
    """
    config: Any = SimpleNamespace(steps_chosen=set(), seed=1)  # all that the reading of files uses of it
    try:
        return prepare_data(DataArguments(train_file=str(path), test_file=str(path), **columns), config)
    except InputError as error:
        assert_refusal(str(error), path, cells)
        return error


def assert_refusal(message: str, path: Path, cells: Iterable[str] = ()) -> None:
    """Assert that a message is one line that names the file and shows at most an excerpt of a cell."""
    assert str(path) in message
    said = message.replace(str(path), "PATH")
    assert len(said.splitlines()) == 1
    assert len(said) <= 500, said
    shown = printable(said)
    assert shown.replace("\u200c", "").replace("\u200d", "").isprintable()
    windows = {text[at : at + EXCERPT + 1] for text in (said, shown) for at in range(len(text) - EXCERPT)}
    for cell in cells:
        if len(cell) > EXCERPT:
            characters = set(cell)
            assert not any(window in cell for window in windows if characters.issuperset(window)), said
