"""Texts to token ids: in batches, in several processes if asked, and kept on disk for the next run."""

import hashlib
import json
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import transformers
from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers import PreTrainedTokenizerBase

from .fingerprint import fingerprint
from .noise import FLIPPED_COLUMN, ORIGINAL_COLUMN

_TEXT = "text"


def tokenise(
    data: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    *,
    num_proc: int | None = None,
    overwrite_cache: bool = False,
) -> DatasetDict:
    """Replace the texts by token ids, cut to `max_length` or to the model's limit; padding is left to the collator.

    The ids are kept in the folder `lane_hf` of the cache of `datasets` (`HF_DATASETS_CACHE`), unless
    `datasets.disable_caching()` was called. They are found again by the texts, in their order, and the tokenizer:
    runs with other labels, noise or methods share them.

    Args:
        data: splits with a column `text`.
        tokenizer: any tokenizer. The ids of one with Python code of its own are not kept: its code is in no file.
        max_length: in tokens.
        num_proc: processes that tokenise. None tokenises in this one; fast tokenizers then use every core already.
        overwrite_cache: tokenise even if the ids are there.

    Returns:
        The splits with `input_ids` and what else the tokenizer makes. The training texts stay, for views of them; what
        noise injection noted of the right labels is dropped.

    Example:
        >>> tokenise(data, tokenizer, max_length=128, num_proc=8)["train"].column_names  # doctest: +SKIP
        ['text', 'label', 'input_ids', 'token_type_ids', 'attention_mask']
    """
    limit = min(max_length, tokenizer.model_max_length)

    def tokenise_split(split: str, rows: Dataset) -> Dataset:
        # Of the texts alone: which file the ids are found in must not depend on labels.
        texts = rows.select_columns(_TEXT)
        ids = _Ids(texts, tokenizer, limit, num_proc, f"Tokenising {split}").get(overwrite_cache)
        unwanted = [FLIPPED_COLUMN, ORIGINAL_COLUMN, *ids.column_names] + ([] if split == "train" else [_TEXT])
        rest = rows.remove_columns([name for name in unwanted if name in rows.column_names])
        return concatenate_datasets([rest, ids], axis=1)

    return DatasetDict({split: tokenise_split(split, rows) for split, rows in data.items()})


class _Ids:
    """The token ids of texts, from disk if they are there."""

    def __init__(
        self, texts: Dataset, tokenizer: PreTrainedTokenizerBase, limit: int, num_proc: int | None, desc: str
    ) -> None:
        self._texts = texts
        self._tokenizer = tokenizer
        self._limit = limit
        self._how: dict[str, Any] = {"batched": True, "remove_columns": [_TEXT], "num_proc": num_proc, "desc": desc}

    def get(self, overwrite: bool) -> Dataset:
        """Return the ids, a row for each text; keep them if they can be kept."""
        key = cache_key(self._texts, self._tokenizer, self._limit) if datasets.is_caching_enabled() else None
        if key is None:
            return self._make()
        folder = Path(datasets.config.HF_DATASETS_CACHE) / "lane_hf"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return self._keep(folder, key, overwrite)
        except OSError as error:
            reason = error.strerror or str(error)
            warnings.warn(f"{folder}: token ids are not kept for the next run ({reason})", stacklevel=2)
            return self._make()

    def _keep(self, folder: Path, key: str, overwrite: bool) -> Dataset:
        file = folder / f"tokens-{key}.arrow"
        options = {"cache_file_name": str(file), "new_fingerprint": key}
        files = list(folder.glob(f"{file.stem}*"))  # one of each process that has made them
        if files and not overwrite:
            try:
                ids = self._make(**options)  # what a killed run did not come to is made
            except (OSError, pa.ArrowInvalid) as error:
                reason = str(error)
            else:
                if len(ids) == len(self._texts):
                    return ids
                reason = f"{len(ids)} rows instead of {len(self._texts)}"
            warnings.warn(f"{file} is damaged ({reason}): its rows are tokenised again", stacklevel=2)
        for each in files:
            each.unlink(missing_ok=True)
        return self._make(**options)

    def _make(self, **options: Any) -> Dataset:
        tokenizer, limit = self._tokenizer, self._limit

        def encode(batch: dict[str, list[Any]]) -> dict[str, Any]:
            return dict(tokenizer(batch[_TEXT], truncation=True, max_length=limit))

        if len(self._texts) == 0:  # a map has no columns then
            return Dataset.from_dict({name: [] for name in encode({_TEXT: ["a"]})})
        return self._texts.map(encode, **self._how, **options)


def cache_key(texts: Dataset, tokenizer: PreTrainedTokenizerBase, limit: int) -> str | None:
    """Return what the token ids of texts depend on, as a hash: the texts in their order, the tokenizer and the limit.

    Args:
        texts: rows with a column `text`; others do not matter.
        tokenizer: a tokenizer. How it was last asked to cut and to pad does not matter.
        limit: the largest number of tokens.

    Returns:
        32 hexadecimal digits; None for a tokenizer with Python code of its own.

    Example:
        >>> cache_key(data["train"], tokenizer, 128)  # doctest: +SKIP
        '0b3a7f9d5c6e4e0f8a1d2c3b4a596877'
    """
    about = _description(tokenizer)
    if about is None:
        return None
    content = fingerprint(texts.select_columns(_TEXT), ())["content"]
    return hashlib.blake2b(json.dumps([content, limit, about], sort_keys=True).encode(), digest_size=16).hexdigest()


def _description(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any] | None:
    """Return all that a tokenizer's ids depend on, or None if that cannot be told."""
    kind = type(tokenizer)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or kind.__module__.partition(".")[0] != transformers.__name__:
        return None
    state = json.loads(backend.to_str())
    for left_by_the_last_call in ("truncation", "padding"):
        state.pop(left_by_the_last_call, None)
    return {
        "kind": f"{kind.__module__}.{kind.__qualname__}",
        "state": state,
        "cut": tokenizer.truncation_side,
        "splits_special_tokens": getattr(tokenizer, "split_special_tokens", False),
        "made": tokenizer.model_input_names,
        "versions": [transformers.__version__, version("tokenizers")],
    }
