"""Views of toy rows that can be told from the rows: each lacks one token."""

from collections.abc import Sequence
from typing import Any

from tiny import make_tokenizer
from transformers import DataCollatorWithPadding

from lane_hf.augmentation.collator import TokenView, ViewsCollator


def drop_one(ids: Sequence[int], seed: int) -> list[int]:
    """Leave out one ordinary token, chosen by the seed."""
    place = 1 + seed % max(len(ids) - 2, 1)
    return [*ids[:place], *ids[place + 1 :]]


class DropOne(TokenView):
    """Views with one token fewer; the attention mask must shrink with them."""

    def __init__(self) -> None:
        super().__init__(drop_one)

    def __call__(self, example: Any, seeds: Sequence[int], first: int) -> list[dict[str, Any]]:
        views = super().__call__(example, seeds, first)
        return [{**view, "attention_mask": [1] * len(view["input_ids"])} for view in views]


def views_collator(num_views: int = 3, seed: int = 0) -> ViewsCollator:
    return ViewsCollator(DataCollatorWithPadding(make_tokenizer()), DropOne(), num_views, seed)
