"""What a training set looked like, in a few bytes, and how another one differs from it.

A resumed run must see the same rows in the same order with the same labels: its per-row state is by position. Each row
is hashed to 64 bits by what the model gets of it. The digest of these hashes in their order, their sum, which no order
changes, and the digest of the labels tell a shuffled set from a relabelled one and both from another one.

A `datasets.Dataset` is hashed whole, column by column, as it is stored: transforms that are applied on access do not
matter. One million rows of 32 token ids and their mask take two seconds of one core, and twenty if the set was
shuffled without being written anew. Of other map-style sets 64 rows are fetched, twice: if that gives different things
(random augmentation), they say nothing and are left out.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

Fingerprint = dict[str, str | int]
"""`rows` (their number), `labels`, `content`, `content_in_any_order`; texts are empty where nothing is known."""

_BATCH = 10_000
_SAMPLED_ROWS = 64
_ADVICE = "Resume with the training set of the first run, or start anew without resume_from_checkpoint"


def fingerprint(dataset: Any, label_names: Sequence[str]) -> Fingerprint:
    """Take the fingerprint of a training set.

    Args:
        dataset: a map-style data set.
        label_names: names under which a row may hold its label; other columns are its content.

    Returns:
        [`Fingerprint`].

    Example:
        >>> from datasets import Dataset
        >>> first = fingerprint(Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}), ["label"])
        >>> other = fingerprint(Dataset.from_dict({"text": ["b", "a"], "label": [0, 1]}), ["label"])
        >>> first["content_in_any_order"] == other["content_in_any_order"], first["content"] == other["content"]
        (True, False)
    """
    if hasattr(dataset, "column_names") and hasattr(dataset, "with_format"):
        content, labels = _hash_table(dataset, label_names)
    else:
        content, labels = _hash_sample(dataset, label_names)
    return {
        "rows": len(dataset),
        "labels": _digest(labels),
        "content": _digest(content),
        "content_in_any_order": _digest(content.sum(dtype=np.uint64)) if len(content) else "",
    }


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Say how a training set differs from an earlier one.

    Args:
        before: its fingerprint then.
        now: its fingerprint now.

    Returns:
        One sentence with what to do, or None if they are the same as far as the fingerprints tell.

    Example:
        >>> difference({"rows": 3}, {"rows": 2}).partition(":")[0]
        'the training set had 3 rows, now it has 2'
    """
    if before.get("rows") != now.get("rows"):
        return (
            f"the training set had {before.get('rows')} rows, now it has {now.get('rows')}: rows were removed or "
            f"added. {_ADVICE}"
        )

    def same(name: str) -> bool:
        return before.get(name) == now.get(name)

    if not same("content"):
        if same("content_in_any_order"):
            return f"the training set has the same rows in another order: it was shuffled or sorted. {_ADVICE}"
        changed = "rows" if same("labels") else "rows and other labels"
        return f"the training set has other {changed} than before, though as many. {_ADVICE}"
    if not same("labels"):
        return f"the training set has the same rows with other labels: it was relabelled. {_ADVICE}"
    return None


# ---- Tables ----


def _hash_table(dataset: Any, label_names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the hash of each row's content and of its label: `[N]` uint64 each."""
    stored = dataset.with_format("arrow")
    columns = [name for name in dataset.column_names if name not in label_names]
    label = next((name for name in label_names if name in dataset.column_names), None)
    contents, labels = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for start in range(0, len(dataset), _BATCH):
        table: pa.Table = stored[start : start + _BATCH]
        content = np.zeros(len(table), np.uint64)
        for name in sorted(columns):
            content = _mix(content ^ _hash_column(table.column(name).combine_chunks()) ^ _seed(name))
        contents.append(content)
        if label is not None:
            labels.append(_hash_column(table.column(label).combine_chunks()))
    return np.concatenate(contents), np.concatenate(labels)


def _hash_column(array: Any) -> np.ndarray:
    """Hash each entry of an Arrow array: `[N]` uint64."""
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _hash_lists(array)
    if pa.types.is_fixed_size_list(kind):
        return _hash_lists(array.cast(pa.large_list(kind.value_type)))
    if pa.types.is_struct(kind):
        hashes = np.zeros(len(array), np.uint64)
        for index, field in enumerate(kind):
            hashes = _mix(hashes ^ _hash_column(array.field(index)) ^ _seed(field.name))
        return hashes
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        missing = np.asarray(array.is_null())
        # The same number is the same whatever type it is stored in, as long as it fits.
        wide = array.cast(pa.float64() if pa.types.is_floating(kind) else pa.int64(), safe=False)
        bits = wide.fill_null(0).to_numpy(zero_copy_only=False).view(np.uint64)
        return np.where(missing, _seed("missing"), _mix(bits))
    return pd.util.hash_array(np.asarray(array.to_pylist(), dtype=object), categorize=False)


def _hash_lists(array: Any) -> np.ndarray:
    """Hash each list by its elements and their places."""
    array = array.fill_null([]) if array.null_count else array
    offsets = np.asarray(array.offsets).astype(np.int64)
    elements = _hash_column(array.values)[offsets[0] : offsets[-1]]
    offsets = offsets - offsets[0]
    lengths = np.diff(offsets)
    places = np.arange(len(elements), dtype=np.int64) - np.repeat(offsets[:-1], lengths)
    placed = _mix(elements ^ _mix(places.view(np.uint64)))
    # Sums of lists as differences of running sums; both wrap around alike.
    running = np.concatenate([np.zeros(1, np.uint64), np.cumsum(placed, dtype=np.uint64)])
    return _mix(running[offsets[1:]] - running[offsets[:-1]] + lengths.view(np.uint64))


def _mix(values: np.ndarray) -> np.ndarray:
    """Scramble 64 bits (the finaliser of splitmix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def _seed(name: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))


def _digest(values: Any) -> str:
    values = np.asarray(values)
    return hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest() if values.size else ""


# ---- Anything else that has rows ----


def _hash_sample(dataset: Any, label_names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), _SAMPLED_ROWS)).astype(int)).tolist()
    with _random_state_kept():
        first, second = ([_hash_row(dataset[row], label_names) for row in rows] for _ in range(2))
    parts = zip(zip(*first, strict=True), zip(*second, strict=True), strict=True)
    content, labels = (np.asarray(once if once == again else [], dtype=np.uint64) for once, again in parts)
    return content, labels


def _hash_row(row: Any, label_names: Sequence[str]) -> tuple[int, int]:
    if not isinstance(row, Mapping):
        return _hash_value(row), 0
    label = next((row[name] for name in label_names if name in row), None)
    content = {name: value for name, value in row.items() if name not in label_names}
    return _hash_value(content), _hash_value(label)


def _hash_value(value: Any) -> int:
    digest = hashlib.blake2b(digest_size=8)
    for part in _bytes_of(value):
        digest.update(len(part).to_bytes(8, "little") + part)
    return int.from_bytes(digest.digest(), "little")


def _bytes_of(value: Any) -> Iterator[bytes]:
    if isinstance(value, Mapping):
        for name in sorted(value, key=str):
            yield str(name).encode()
            yield from _bytes_of(value[name])
    elif isinstance(value, (list, tuple)):
        yield b"list"
        for each in value:
            yield from _bytes_of(each)
    elif isinstance(value, torch.Tensor):
        yield from _bytes_of(value.detach().cpu().to(torch.float64).numpy())
    elif isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        yield str(array.shape).encode()
        yield array.astype(np.float64).tobytes() if array.dtype.kind in "biuf" else repr(array.tolist()).encode()
    elif isinstance(value, (bool, int, float)):
        yield from _bytes_of(np.asarray(value))
    elif hasattr(value, "tobytes"):  # pictures
        yield value.tobytes()
    else:
        yield repr(value).encode(errors="surrogatepass")


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Fetch rows without moving the random numbers that training will draw."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
