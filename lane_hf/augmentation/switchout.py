"""SwitchOut: views of token ids in which a few tokens give way to random ones."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from .synonym import draw

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

__all__ = ["SwitchOut"]

_MASK: Final = (1 << 64) - 1
_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
# Places that vocabularies keep free: [unused12], <extra_id_3>, madeupword0001, <|reserved_special_token_7|>.
_PLACEHOLDER = re.compile(r"[\[<]\|?(unused|extra_id|reserved)\w*\|?[\]>]|madeupword\d+", re.IGNORECASE)

_Uint = NDArray[np.uint64]
_TensorOrArray = TypeVar("_TensorOrArray", "Tensor", NDArray[np.int64])


def _mix(z: _Uint) -> _Uint:
    """SplitMix64's output function: 64 well-mixed bits of every counter (Steele et al., OOPSLA 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _row_seeds(seed: int, row_ids: Iterable[int], epoch: int, view: int) -> _Uint:
    """`view_seed` of every row at once."""
    rows = np.asarray(row_ids).astype(np.int64).reshape(-1).view(np.uint64)
    state = np.zeros_like(rows)
    for part in (np.uint64(seed & _MASK), rows, np.uint64(epoch & _MASK), np.uint64(view & _MASK)):
        state = _mix(state + part + _GAMMA)
    return state


def _draw(seeds: _Uint, counters: _Uint) -> _Uint:
    """`draw` of many seeds and counters at once."""
    return _mix(seeds + (counters + np.uint64(1)) * _GAMMA)


class SwitchOut:
    """Replaces a random number of tokens by random tokens of the vocabulary (Wang et al., EMNLP 2018).

    For a row with `L` ordinary tokens the number of replacements `n`, from 0 to `L - 1`, has probability proportional
    to `exp(-n / temperature)`; `n` positions are drawn uniformly without repetition, and each gets a token drawn
    uniformly from the ordinary vocabulary without its own. At temperature 1.0 about 63% of the views change nothing.

    Reimplementations in circulation differ: they multiply by the temperature, replace each position with probability
    `n / L`, so that `n` holds on average only, and may insert special tokens.

    Special tokens (the unknown token is one), padding and reserved entries such as `[unused7]` are neither replaced
    nor inserted. A view depends on its seed and tokens alone: not on the rest of the batch, on padding, nor on worker,
    process or rank.

    Args:
        vocabulary: the tokenizer, or the size of the vocabulary.
        special_ids: ids that are neither replaced nor inserted, besides those the tokenizer declares; needed with a
            size, where nothing else tells which these are.
        temperature: positive; the higher, the more is replaced.
        seed: seed of calls that name no seed of their own.

    Raises:
        InputError: the temperature is not positive and finite, or fewer than two ordinary ids are left.

    Example:
        >>> switch = SwitchOut(1000, special_ids=[0, 1, 2], temperature=1.0)
        >>> switch.augment([1, 500, 600, 2], 0)[0], switch.augment([1, 500, 600, 2], 0)[-1]
        (1, 2)
    """

    def __init__(
        self,
        vocabulary: "PreTrainedTokenizerBase | int",
        special_ids: Iterable[int] = (),
        *,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> None:
        if not (0 < temperature < float("inf")):
            raise InputError(f"temperature must be positive and finite, got {temperature}")
        self.temperature = temperature
        self.seed = seed
        excluded = {int(token) for token in special_ids}
        if isinstance(vocabulary, int):
            size = vocabulary
        else:
            size = len(vocabulary)
            excluded |= _reserved_ids(vocabulary)
        self._ordinary = np.array([token for token in range(size) if token not in excluded], dtype=np.int64)
        if len(self._ordinary) <= 1:
            raise InputError(f"SwitchOut needs at least two ordinary tokens, the vocabulary has {len(self._ordinary)}")
        # Position of an id among the ordinary ones, -1 for the others.
        self._rank = np.full(size, -1, dtype=np.int64)
        self._rank[self._ordinary] = np.arange(len(self._ordinary))
        self._rank_list: list[int] = self._rank.tolist()

    def augment(self, ids: Sequence[int], seed: int) -> list[int]:
        """Return a view of one row of token ids that depends on the ids and this seed only.

        Args:
            ids: `[L]` token ids, special tokens and padding included.
            seed: any integer; lies in place of the seed of the instance.

        Raises:
            InputError: an id is outside the vocabulary.
        """
        # In Python's own numbers, ten times as fast for one row as arrays are.
        out = list(ids)
        if out:
            self._check_range(min(out), max(out))
        places = [place for place, token in enumerate(out) if self._rank_list[token] >= 0]
        if number := self._draw_number(len(places), seed):
            keys = sorted((draw(seed, 2 * count) >> 1, count) for count in range(1, len(places) + 1))
            for _, count in keys[:number]:
                place = places[count - 1]
                drawn = (draw(seed, 2 * count + 1) >> 32) * (len(self._ordinary) - 1) >> 32
                out[place] = int(self._ordinary[drawn + (drawn >= self._rank_list[out[place]])])
        return out

    def batch(
        self,
        input_ids: _TensorOrArray,
        attention_mask: Any = None,
        *,
        row_ids: ArrayLike,
        view: int = 0,
        epoch: int = 0,
    ) -> _TensorOrArray:
        """Return one view of every row of a padded batch.

        Args:
            input_ids: `[B, L]` int64 tensor or array of token ids; it is not changed.
            attention_mask: `[B, L]`, optional: tokens where it is 0 are not replaced.
            row_ids: `[B]` ids of the rows.
            view: number of the view.
            epoch: the epoch.

        Returns:
            `[B, L]` token ids of the same kind and on the same device.

        Raises:
            InputError: an id is outside the vocabulary, or the shapes do not fit.

        Example:
            >>> ids = np.array([[1, 500, 600, 2], [1, 700, 2, 0]])
            >>> SwitchOut(1000, special_ids=[0, 1, 2]).batch(ids, row_ids=[10, 11])[:, 0].tolist()
            [1, 1]
        """
        ids: NDArray[np.int64] = _to_numpy(input_ids).astype(np.int64, copy=False)
        rows: NDArray[Any] = _to_numpy(row_ids)
        if len(ids.shape[1:]) != 1 or rows.shape != ids.shape[:1]:
            raise InputError(f"need input_ids [B, L] and row_ids [B], got {list(ids.shape)} and {list(rows.shape)}")
        mask = None if attention_mask is None else _to_numpy(attention_mask)
        if mask is not None and mask.shape != ids.shape:
            raise InputError(f"attention_mask has shape {list(mask.shape)}, input_ids {list(ids.shape)}")
        switched = self._switch(ids, self._find_ordinary(ids, mask), _row_seeds(self.seed, rows, epoch, view))
        if isinstance(input_ids, np.ndarray):
            return switched
        return input_ids.new_tensor(switched)

    def _check_range(self, lowest: int, highest: int) -> None:
        if lowest < 0 or highest >= len(self._rank):
            raise InputError(f"token ids {lowest} to {highest} are not within 0 to {len(self._rank) - 1}")

    def _find_ordinary(self, ids: NDArray[np.int64], mask: NDArray[Any] | None) -> NDArray[np.bool_]:
        if ids.size:
            self._check_range(int(ids.min()), int(ids.max()))
        ordinary: NDArray[np.bool_] = self._rank[ids] >= 0
        if mask is not None:
            ordinary &= mask != 0
        return ordinary

    def _draw_number(self, length: int, seed: int) -> int:
        """Draw the number of replacements in one row, as `_draw_numbers` does."""
        uniform = (draw(seed, 0) >> 11) * 2.0**-53
        number = math.floor(-self.temperature * math.log1p(uniform * math.expm1(-length / self.temperature)))
        return min(max(number, 0), max(length - 1, 0))

    def _draw_numbers(self, lengths: NDArray[np.int64], seeds: _Uint) -> NDArray[np.int64]:
        """Draw `[B]` numbers of replacements, by the inverse of the distribution function."""
        uniform = (_draw(seeds, np.zeros_like(seeds)) >> np.uint64(11)) * 2.0**-53
        numbers = np.floor(-self.temperature * np.log1p(uniform * np.expm1(-lengths / self.temperature)))
        # Rounding must not lift a number to the length, nor a row without ordinary tokens below zero.
        clipped: NDArray[np.int64] = np.clip(numbers.astype(np.int64), 0, np.maximum(lengths - 1, 0))
        return clipped

    def _switch(self, ids: NDArray[np.int64], ordinary: NDArray[np.bool_], seeds: _Uint) -> NDArray[np.int64]:
        switched = ids.copy()
        numbers = self._draw_numbers(ordinary.sum(axis=1), seeds)
        changing = np.flatnonzero(numbers)
        if not len(changing):
            return switched
        ordinary, seeds = ordinary[changing], seeds[changing, None]
        # Tokens are counted without specials and padding: padding on either side changes nothing.
        count = np.cumsum(ordinary, axis=1).astype(np.uint64)
        keys = _draw(seeds, np.uint64(2) * count)
        # One bit less for the keys, so that all others sort behind them.
        keys = np.where(ordinary, keys >> np.uint64(1), np.uint64(_MASK))
        order = np.argsort(keys, axis=1, kind="stable")
        row, place = np.nonzero(np.arange(ids.shape[1]) < numbers[changing, None])
        column = order[row, place]
        draws = _draw(seeds[row, 0], np.uint64(2) * count[row, column] + np.uint64(1))
        others = np.uint64(len(self._ordinary) - 1)
        # Multiply and shift: uniform below `others`, to within 2^-32 of it.
        drawn = ((draws >> np.uint64(32)) * others >> np.uint64(32)).astype(np.int64)
        drawn += drawn >= self._rank[ids[changing[row], column]]
        switched[changing[row], column] = self._ordinary[drawn]
        return switched


def _reserved_ids(tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """Ids of special tokens and of entries that the vocabulary keeps free."""
    reserved = set(tokenizer.all_special_ids)
    reserved |= {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    return reserved | {token_id for token, token_id in tokenizer.get_vocab().items() if _PLACEHOLDER.fullmatch(token)}


def _to_numpy(values: Any) -> NDArray[Any]:
    # Without importing torch where there is none: tensors know how to come back from a device.
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
