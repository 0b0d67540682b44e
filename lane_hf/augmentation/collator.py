"""ViewsCollator: every training row as it is, followed by views of it that an augmentation made.

The paper enlarges each batch of 32 rows to 256 so (Sosea & Caragea, ICLR 2026, section 4). Views are made in the
loader's workers, anew in each epoch, from a seed that depends on nothing but the row, the epoch and the number of the
view: the same in every process and whatever the batch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MASK = (1 << 64) - 1


def view_seed(seed: int, row_id: int, epoch: int, view: int) -> int:
    """Return a well-mixed 64-bit seed for one view of one row (SplitMix64; Steele et al., OOPSLA 2014).

    Example:
        >>> view_seed(0, 1, 2, 3) == view_seed(0, 1, 2, 3), view_seed(0, 1, 2, 3) == view_seed(0, 1, 2, 4)
        (True, False)
    """
    state = 0
    for part in (seed, row_id, epoch, view):
        state = (state + (part & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


class View(Protocol):
    """Makes views of an example.

    Attributes:
        columns: columns of the data set that are needed for this and are not for the model.
    """

    @property
    def columns(self) -> Sequence[str]:
        """Return the columns."""
        ...

    def __call__(self, example: Mapping[str, Any], seeds: Sequence[int], first: int) -> list[dict[str, Any]]:
        """Return `len(seeds)` views of the example; `first` is the number of the first one among all views."""


class TextView:
    """Views of the text of a row, tokenised as the row was.

    Args:
        augment: makes a new text from a text and a seed, such as `SynonymReplacement().augment`.
        tokenizer: the tokenizer of the model.
        text_column: column of texts; the data set must keep it.
        max_length: longer texts are cut to so many tokens.

    Example:
        >>> view = TextView(lambda text, seed: text.upper(), tokenizer)  # doctest: +SKIP
    """

    def __init__(
        self,
        augment: Callable[[str, int], str],
        tokenizer: "PreTrainedTokenizerBase",
        text_column: str = "text",
        max_length: int = 128,
    ) -> None:
        self.augment = augment
        self.tokenizer = tokenizer
        self.columns = (text_column,)
        self.max_length = max_length

    def __call__(self, example: Mapping[str, Any], seeds: Sequence[int], first: int) -> list[dict[str, Any]]:
        """Augment the text once per seed and tokenise the results together."""
        (column,) = self.columns
        if column not in example:
            raise InputError(f"views are made from the column {column!r}, which the training set does not have")
        texts = [self.augment(example[column], seed) for seed in seeds]
        encoded = self.tokenizer(texts, truncation=True, max_length=self.max_length)
        return [{**example, **{name: values[i] for name, values in encoded.items()}} for i in range(len(texts))]


class TokenView:
    """Views of the token ids of a row.

    Args:
        augment: makes new token ids from token ids and a seed, such as `SwitchOut(tokenizer).augment`.

    Example:
        >>> view = TokenView(lambda ids, seed: ids[::-1])
        >>> view({"input_ids": [1, 2, 3]}, seeds=[0], first=0)
        [{'input_ids': [3, 2, 1]}]
    """

    columns: Sequence[str] = ()

    def __init__(self, augment: Callable[[Sequence[int], int], Sequence[int]]) -> None:
        self.augment = augment

    def __call__(self, example: Mapping[str, Any], seeds: Sequence[int], first: int) -> list[dict[str, Any]]:
        """Augment the token ids once per seed."""
        ids = [int(token) for token in example["input_ids"]]
        return [{**example, "input_ids": list(self.augment(ids, seed))} for seed in seeds]


class ColumnView:
    """Views that were made beforehand and stand in columns of texts, such as back-translations.

    Args:
        columns: columns of texts, taken in turn; the data set must keep them.
        tokenizer: the tokenizer of the model.
        max_length: longer texts are cut to so many tokens.

    Example:
        >>> view = ColumnView(["text_de", "text_fr"], tokenizer)  # doctest: +SKIP
    """

    def __init__(self, columns: Sequence[str], tokenizer: "PreTrainedTokenizerBase", max_length: int = 128) -> None:
        if not columns:
            raise InputError("ColumnView needs at least one column of texts")
        self.columns = tuple(columns)
        self.tokenizer = tokenizer
        self.max_length = max_length

    def __call__(self, example: Mapping[str, Any], seeds: Sequence[int], first: int) -> list[dict[str, Any]]:
        """Tokenise the columns in turn."""
        missing = [column for column in self.columns if column not in example]
        if missing:
            raise InputError(f"views are taken from the column {missing[0]!r}, which the training set does not have")
        texts = [example[self.columns[(first + i) % len(self.columns)]] for i in range(len(seeds))]
        encoded = self.tokenizer(texts, truncation=True, max_length=self.max_length)
        return [{**example, **{name: values[i] for name, values in encoded.items()}} for i in range(len(texts))]


class ViewsCollator:
    """Collate each training row together with views of it: row, its views, next row, its views, and so on.

    Only training sees views: called on examples alone, as in evaluation, it is the plain collator. A trainer of this
    library calls [`collate_rows`] instead. The label, the row id and the weight of a row hold for all its views;
    margins come from the row itself only.

    Args:
        collator: any collator.
        views: one [`View`], or several that share the views among them (8 views of two kinds are 4 of each).
        num_views: views per row, besides the row itself (the paper has 7).
        seed: seed of the views.

    Raises:
        InputError: `num_views` is below the number of kinds, or not positive.

    Example:
        >>> collator = ViewsCollator(DataCollatorWithPadding(tokenizer), views=view, num_views=7)  # doctest: +SKIP
        >>> trainer = LaneTrainer(model, args, data_collator=collator, train_dataset=train)  # doctest: +SKIP
    """

    def __init__(
        self,
        collator: Callable[[list[Any]], Any],
        views: View | Sequence[View],
        num_views: int = 7,
        seed: int = 0,
    ) -> None:
        self.collator = collator
        self.views = list(views) if isinstance(views, Sequence) else [views]
        if num_views < len(self.views) or num_views < 1:
            least = max(len(self.views), 1)
            raise InputError(f"num_views must be at least {least} (one for each kind), got {num_views}")
        self.num_views = num_views
        self.seed = seed

    @property
    def columns(self) -> list[str]:
        """Columns that the views need and the model does not."""
        return [column for view in self.views for column in view.columns]

    def __call__(self, examples: list[Mapping[str, Any]]) -> Any:
        """Collate examples without views, as in evaluation."""
        return self.collator([self._for_model(example) for example in examples])

    def collate_rows(self, examples: Sequence[Mapping[str, Any]], row_ids: Sequence[int], epoch: int) -> Any:
        """Collate `B` examples into a batch of `B * (1 + num_views)`."""
        together = []
        for example, row_id in zip(examples, row_ids, strict=True):
            together.append(self._for_model(example))
            together += [self._for_model(view) for view in self._views_of(example, row_id, epoch)]
        return self.collator(together)

    def _views_of(self, example: Mapping[str, Any], row_id: int, epoch: int) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        for index, view in enumerate(self.views):
            share = (self.num_views - len(made)) // (len(self.views) - index)
            seeds = [view_seed(self.seed, row_id, epoch, len(made) + i) for i in range(share)]
            made += view(example, seeds, len(made))
        return made

    def _for_model(self, example: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in example.items() if name not in self.columns}
