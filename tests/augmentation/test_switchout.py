"""SwitchOut: its distribution, what it never touches, and that a view depends on its seed and tokens alone."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from lane_hf.augmentation.collator import view_seed
from lane_hf.augmentation.switchout import SwitchOut
from lane_hf.errors import InputError

SIZE = 40
PAD, UNK, CLS, SEP = SPECIALS = 0, 1, 2, 3
ORDINARY = range(4, SIZE)
HOT = SwitchOut(SIZE, SPECIALS, temperature=20.0)
ROWS = st.lists(st.sampled_from(ORDINARY), max_size=9)
GOLDEN, WORD = 0x9E3779B97F4A7C15, (1 << 64) - 1


def chi_square(observed: list[int], expected: list[float]) -> float:
    return sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))


def padded(rows: list[list[int]], width: int, left: bool = False) -> NDArray[np.int64]:
    out = np.full((len(rows), width), PAD)
    for i, row in enumerate(rows):
        tokens = [CLS, *row, SEP]
        out[i, slice(width - len(tokens), None) if left else slice(len(tokens))] = tokens
    return out


def slow_switch(ids: list[int], seed: int, temperature: float) -> list[int]:
    """One row, number by number, in Python's integers."""

    def draw(counter: int) -> int:
        z = (seed + (counter + 1) * GOLDEN) & WORD
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
        return z ^ (z >> 31)

    places = [i for i, token in enumerate(ids) if token in ORDINARY]
    weights = [math.exp(-n / temperature) for n in range(len(places))] or [1.0]
    below = list(itertools.accumulate(weight / sum(weights) for weight in weights))
    number = sum((draw(0) >> 11) * 2.0**-53 >= bound for bound in below[:-1])
    out = list(ids)
    for rank in sorted(range(len(places)), key=lambda rank: draw(2 * rank + 2) >> 1)[:number]:
        others = [token for token in ORDINARY if token != ids[places[rank]]]
        out[places[rank]] = others[(draw(2 * rank + 3) >> 32) * len(others) >> 32]
    return out


# What is replaced by what


@given(st.lists(ROWS, max_size=5), st.integers(-5, 2**70), st.booleans())
def test_only_ordinary_tokens_change_and_only_to_other_ordinary_tokens(
    rows: list[list[int]], seed: int, left: bool
) -> None:
    ids = padded(rows, 12, left)
    before = ids.copy()
    out = SwitchOut(SIZE, SPECIALS, temperature=20.0, seed=seed).batch(ids, ids != PAD, row_ids=range(len(rows)))
    assert (ids == before).all()
    special = np.isin(ids, SPECIALS)
    assert (out[special] == ids[special]).all()
    assert np.isin(out[~special], ORDINARY).all()
    for row, new in zip(ids, out, strict=True):
        assert (row != new).sum() <= max(0, np.isin(row, ORDINARY).sum() - 1)


@given(st.lists(st.sampled_from(range(SIZE)), max_size=12), st.integers(0, WORD), st.sampled_from([0.3, 1.0, 20.0]))
def test_equals_the_slow_reference(ids: list[int], seed: int, temperature: float) -> None:
    switch = SwitchOut(SIZE, SPECIALS, temperature=temperature)
    assert switch.augment(ids, seed) == slow_switch(ids, seed, temperature)


def test_masked_tokens_are_not_touched() -> None:
    ids = np.tile(np.arange(4, 24), (200, 1))
    mask = np.tile(np.arange(20) % 2, (200, 1))
    out = HOT.batch(ids, mask, row_ids=np.arange(200))
    assert (out == ids)[mask == 0].all()
    assert not (out == ids)[mask == 1].all()


@pytest.mark.parametrize("row", [[], [CLS, SEP], [CLS, 7, SEP], [PAD, PAD]])
def test_rows_of_at_most_one_ordinary_token_stay(row: list[int]) -> None:
    assert all(HOT.augment(row, seed) == row for seed in range(50))


def test_with_two_ordinary_tokens_the_other_one_comes() -> None:
    switch = SwitchOut(5, [0, 1, 2], temperature=100.0)
    views = {tuple(switch.augment([3, 3, 4], seed)) for seed in range(100)}
    assert {(3, 3, 4), (4, 3, 4), (3, 4, 4), (3, 3, 3), (4, 4, 4), (4, 3, 3), (3, 4, 3)} == views


# Distributions


@pytest.mark.parametrize(("temperature", "length"), [(1.0, 12), (0.5, 5), (3.0, 6), (1e6, 4)])
def test_number_of_replacements_is_the_softmax(temperature: float, length: int) -> None:
    rows = 20_000
    ids = np.tile(np.arange(4, 4 + length), (rows, 1))
    out = SwitchOut(SIZE, SPECIALS, temperature=temperature, seed=1).batch(ids, row_ids=np.arange(rows))
    numbers = Counter((out != ids).sum(axis=1).tolist())
    weights = [math.exp(-n / temperature) for n in range(length)]
    expected = [rows * weight / sum(weights) for weight in weights]
    likely = [n for n in range(length) if expected[n] >= 5]
    statistic = chi_square([numbers[n] for n in likely], [expected[n] for n in likely])
    assert statistic < len(likely) + 5 * math.sqrt(2 * len(likely))
    assert max(numbers) < length
    if temperature == 1.0:
        assert numbers[0] / rows == pytest.approx(0.632, abs=0.015)


def test_positions_and_replacements_are_uniform() -> None:
    rows, length = 20_000, 8
    ids = np.tile(np.arange(4, 4 + length), (rows, 1))
    out = SwitchOut(SIZE, SPECIALS, temperature=1.0, seed=2).batch(ids, row_ids=np.arange(rows))
    changed = out != ids
    per_place = changed.sum(axis=0).tolist()
    assert chi_square(per_place, [changed.sum() / length] * length) < 30
    pairs = Counter(tuple(np.flatnonzero(row)) for row in changed[changed.sum(axis=1) == 2])
    number = math.comb(length, 2)
    assert len(pairs) == number
    assert chi_square(list(pairs.values()), [pairs.total() / number] * number) < 65
    new = Counter(out[:, 0][changed[:, 0]].tolist())
    assert set(new) == set(ORDINARY) - {4}
    assert chi_square(list(new.values()), [new.total() / len(new)] * len(new)) < 85


# On what a view depends


@given(st.lists(ROWS, min_size=1, max_size=5), st.randoms(use_true_random=False), st.integers(12, 20), st.booleans())
def test_views_do_not_depend_on_the_batch(rows: list[list[int]], random: object, width: int, left: bool) -> None:
    ids = list(range(100, 100 + len(rows)))
    whole = HOT.batch(padded(rows, 12), row_ids=ids)
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = HOT.batch(padded([rows[i] for i in order], width, left), row_ids=[ids[i] for i in order])
    for place, i in enumerate(order):
        assert shuffled[place][shuffled[place] != PAD].tolist() == whole[i][whole[i] != PAD].tolist()


@given(ROWS, st.integers(-3, 2**40), st.integers(0, 5), st.integers(0, 5))
def test_one_row_is_the_row_of_a_batch(row: list[int], row_id: int, view: int, epoch: int) -> None:
    ids = padded([row], 12)
    expected = HOT.augment(ids[0].tolist(), view_seed(HOT.seed, row_id, epoch, view))
    assert HOT.batch(ids, row_ids=[row_id], view=view, epoch=epoch)[0].tolist() == expected


def test_seed_row_view_and_epoch_matter() -> None:
    ids = np.arange(4, 34)[None]
    base = HOT.batch(ids, row_ids=[1])
    others = [HOT.batch(ids, row_ids=[2]), HOT.batch(ids, row_ids=[1], view=1), HOT.batch(ids, row_ids=[1], epoch=1)]
    others.append(SwitchOut(SIZE, SPECIALS, temperature=20.0, seed=1).batch(ids, row_ids=[1]))
    assert len({out.tobytes() for out in (base, *others)}) == 5


def test_tensors_come_back_as_tensors() -> None:
    ids = torch.arange(4, 34)[None].repeat(3, 1)
    out = HOT.batch(ids, torch.ones_like(ids), row_ids=torch.tensor([1, 2, 3]))
    assert isinstance(out, torch.Tensor)
    assert out.dtype == torch.int64
    assert out.tolist() == HOT.batch(ids.numpy(), row_ids=[1, 2, 3]).tolist()


def test_no_global_random_numbers_are_used() -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    HOT.augment(list(range(4, 30)), 0)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()


# Construction


def test_tokenizer_tells_special_and_reserved_tokens() -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused99]", "<extra_id_5>", "madeupword0001"]
    words += ["<|reserved_special_token_7|>", "unused", "reserved", "good", "##ed"]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(vocabulary, "[UNK]")),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    switch = SwitchOut(tokenizer, special_ids=[vocabulary["##ed"]], temperature=50.0)
    ordinary = {vocabulary[word] for word in ("unused", "reserved", "good")}
    seen = {token for seed in range(100) for token in switch.augment([10, 11, 12, 10], seed)}
    assert seen == ordinary
    assert all(switch.augment(list(range(10)), seed) == list(range(10)) for seed in range(20))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_temperatures_are_refused(temperature: float) -> None:
    with pytest.raises(InputError, match="temperature"):
        SwitchOut(SIZE, temperature=temperature)


def test_other_mistakes_are_refused() -> None:
    with pytest.raises(InputError, match="two ordinary"):
        SwitchOut(4, [0, 1, 2])
    with pytest.raises(InputError, match="token ids"):
        HOT.augment([SIZE], 0)
    with pytest.raises(InputError, match="token ids"):
        HOT.augment([-1], 0)
    with pytest.raises(InputError, match="row_ids"):
        HOT.batch(np.zeros((2, 3), dtype=int), row_ids=[1])
    with pytest.raises(InputError, match="row_ids"):
        HOT.batch(np.zeros(3, dtype=int), row_ids=[1, 2, 3])
    with pytest.raises(InputError, match="attention_mask"):
        HOT.batch(np.zeros((2, 3), dtype=int), np.ones((2, 4)), row_ids=[1, 2])
