"""UNICON: as many rows of every label, targets, and the loss of a batch replayed by hand."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import slow_softmax, slow_supervised_contrastive
from tiny import make_text_dataset, make_tokenizer
from torch.nn import functional as F
from training import logged, make_trainer
from transformers import DataCollatorWithPadding
from views import views_collator

from lane_hf import InputError
from lane_hf.augmentation.collator import TokenView, ViewsCollator
from lane_hf.baselines import UniconConfig, UniconTrainer
from lane_hf.baselines import mixmatch as module
from lane_hf.baselines.base import Batch
from lane_hf.baselines.mixmatch import Examples
from lane_hf.baselines.unicon import UniformSplit, uniform_selection
from lane_hf.mixup import Mixing
from lane_hf.noisy_dataset import inject_into_dataset
from lane_hf.step_rows import StepRows

HEADS = {
    "features": torch.tensor([[1.0, -1.0, 0.5], [0.0, 2.0, -1.0]]),
    "auxiliary_features": torch.tensor([[-0.5, 1.0, 0.0], [1.0, 0.5, -2.0]]),
}


def make(folder: Path, kind: type[UniconTrainer] = UniconTrainer, **options: Any) -> UniconTrainer:
    return make_trainer(folder, kind=kind, args_kind=UniconConfig, **options)


class WithFixedHeads(UniconTrainer):
    """Its joint model is two matrices."""

    joint_model = SimpleNamespace(logits_of=lambda features, name: features @ HEADS[name])


def slow_selection(divergences: list[float], labels: list[int], num_labels: int) -> list[bool]:
    known = [d for d in divergences if not math.isnan(d)]
    if not known:
        return [False] * len(divergences)
    threshold = sum(known) / len(known)
    if threshold > 0.7:
        threshold -= (threshold - min(known)) / 5
    used = len({given for given, divergence in zip(labels, divergences, strict=True) if not math.isnan(divergence)})
    each = max(1, round(sum(d < threshold for d in known) / len(known) * len(known) / used))
    picked = [False] * len(divergences)
    for label in range(num_labels):
        own = [row for row, given in enumerate(labels) if given == label and not math.isnan(divergences[row])]
        for row in sorted(own, key=lambda row: (divergences[row], row))[:each]:
            picked[row] = True
    return picked


value = st.one_of(st.integers(0, 64).map(lambda n: n / 64), st.just(math.nan))


@given(st.lists(st.tuples(value, st.integers(0, 3)), min_size=1, max_size=30), st.booleans())
def test_selection_equals_the_slow_one(rows: list[tuple[float, int]], high: bool) -> None:
    # In float64 both sums are exact, so that no row lies on one side of the threshold by rounding only.
    divergences = [0.75 + d / 4 if high else d for d, _ in rows]
    labels = [label for _, label in rows]
    got = uniform_selection(torch.tensor(divergences, dtype=torch.float64), torch.tensor(labels), 4)
    assert got.tolist() == slow_selection(divergences, labels, 4)


def test_a_high_threshold_is_lowered() -> None:
    # The mean is 0.85; lowered by a fifth of its distance to the lowest, 0.8, it is 0.84, below four of the rows.
    divergences = torch.tensor([0.80, 0.82, 0.845, 0.845, 0.845, 0.845, 0.90, 0.90], dtype=torch.float64)
    picked = uniform_selection(divergences, torch.zeros(8, dtype=torch.int64), 1)
    assert picked.tolist() == [True, True, False, False, False, False, False, False]


def test_a_label_with_fewer_rows_than_its_share_gives_all_and_no_row_twice() -> None:
    divergences = torch.cat([torch.full((50,), 0.1), torch.full((50,), 0.9), torch.tensor([0.95])])
    labels = torch.cat([torch.zeros(100, dtype=torch.int64), torch.ones(1, dtype=torch.int64)])
    picked = uniform_selection(divergences, labels, 2)
    assert int(picked[:100].sum()) == 25  # half of the share of rows below the mean
    assert bool(picked[100])


def test_labels_that_no_row_has_take_no_share() -> None:
    divergences, labels = torch.cat([torch.full((60,), 0.1), torch.full((20,), 0.6)]), torch.arange(80) % 2
    picked = uniform_selection(divergences, labels, 2)
    assert int(picked.sum()) == 60
    assert torch.equal(uniform_selection(divergences, labels, 50), picked)


def test_rows_are_believed_less_the_more_they_diverge() -> None:
    split = UniformSplit(4, 2)
    split.update(torch.tensor([0, 1, 2, -1]), torch.tensor([0.4, 0.6, 0.9, 0.9]))
    labelled, belief = split.of(torch.arange(4))
    assert labelled.tolist() == [True] * 4  # nothing picked yet
    assert belief.tolist() == pytest.approx([1.0, 0.4, 0.1, 1.0])
    split.pick(torch.tensor([0, 0, 1, -1]), epoch=1)
    assert split.of(torch.arange(4))[0].tolist() == [True, False, True, False]
    again = UniformSplit(4, 2)
    again.load_state_dict(split.state_dict())
    assert again.epoch == 1
    assert again.of(torch.arange(4))[0].tolist() == [True, False, True, False]
    with pytest.raises(ValueError, match="belongs to another data set"):
        UniformSplit(3, 2).load_state_dict(split.state_dict())


def ready(folder: Path, **options: Any) -> UniconTrainer:
    """Return a trainer in the second of two epochs, the first of which is warm-up, with three labels."""
    trainer = make(folder, WithFixedHeads, **options)
    trainer.num_labels = 3
    trainer.reset_rows()
    trainer.state.max_steps, trainer.state.global_step, trainer.state.epoch = 10, 7, 1.4
    trainer.state.num_train_epochs = 2
    return trainer


def random_batch(rows: int, seed: int, views: int = 1) -> Batch:
    """Return a batch in which each row has so many entries: itself and its views."""
    generator = torch.Generator().manual_seed(seed)
    features = {name: torch.randn(rows * views, 2, generator=generator) for name in HEADS}
    logits = {name: features[name] @ HEADS[name] for name in HEADS}
    labels = torch.randint(0, 3, (rows,), generator=generator)
    outputs = {**features, "logits": logits["features"], "auxiliary_logits": logits["auxiliary_features"]}
    ids, size = torch.arange(rows).repeat_interleave(views), rows * views
    return Batch(
        outputs["logits"],
        labels.repeat_interleave(views),
        torch.ones(size),
        StepRows(ids, size, size, size, 1),
        outputs,
        labels,
    )


def sharpened(probs: list[float]) -> list[float]:
    squares = [p * p for p in probs]
    return [square / sum(squares) for square in squares]


def slow_divergence(p: list[float], q: list[float]) -> float:
    """The Jensen-Shannon divergence in bits, as the mean of two divergences from the mean."""
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    to_middle = [
        sum(share * math.log2(share / m) for share, m in zip(each, middle, strict=True) if share > 0)
        for each in (p, q)
    ]
    return sum(to_middle) / 2


def slow_loss(batch: Batch, name: str, labelled: list[bool], belief: list[float], mixing: Mixing) -> float:
    own, other = (batch.outputs[n].tolist() for n in ("logits", "auxiliary_logits"))
    if name != "features":
        own, other = other, own
    targets, known, unknown, predictions = [], [], [], []
    for row, label in enumerate(batch.labels.tolist()):
        p, q = slow_softmax(own[row]), slow_softmax(other[row])
        mixed = [belief[row] * (k == label) + (1 - belief[row]) * a for k, a in enumerate(p)]
        mean = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        targets.append(sharpened(mixed if labelled[row] else mean))
    for row in range(len(labelled)):
        share, partner = mixing.shares[row].item(), int(mixing.partners[row])
        features = share * batch.outputs[name][row] + (1 - share) * batch.outputs[name][partner]
        probs = slow_softmax((features @ HEADS[name]).tolist())
        target = [share * a + (1 - share) * b for a, b in zip(targets[row], targets[partner], strict=True)]
        predictions.append(probs)
        if labelled[row]:
            known.append(-sum(t * math.log(p) for t, p in zip(target, probs, strict=True)))
        else:
            unknown.append(sum((t - p) ** 2 for t, p in zip(target, probs, strict=True)) / 3)
    prior = (torch.bincount(batch.labels, minlength=3) / len(labelled)).tolist()
    mean = [sum(column) / len(predictions) for column in zip(*predictions, strict=True)]
    penalty = sum(a * math.log(a / b) for a, b in zip(prior, mean, strict=True) if a > 0)
    return sum(known) / max(len(known), 1) + 5.0 * sum(unknown) / max(len(unknown), 1) + penalty


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_that_of_the_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    trainer = ready(tmp_path, lambda_u=10.0, lambda_u_ramp=0.4, mixup_alpha=2.5)
    trainer.split.epoch = 1
    labelled, belief = [True, False, True, False, True], [1.0, 0.3, 0.4, 1.0, 0.2]
    monkeypatch.setattr(trainer.split, "of", lambda ids: (torch.tensor(labelled), torch.tensor(belief)))
    generator = torch.Generator().manual_seed(seed)
    mixing = Mixing(torch.tensor([1, 2, 3, 4, 0]), torch.rand(5, 1, generator=generator) / 2 + 0.5)

    def draw(allowed: torch.Tensor, alpha: float) -> Mixing:
        assert allowed.tolist() == [True] * 5  # labelled or not
        assert alpha == 2.5
        return mixing

    monkeypatch.setattr(module, "draw_mixing", draw)
    batch = random_batch(5, seed)
    want = sum(slow_loss(batch, name, labelled, belief, mixing) for name in HEADS)
    assert trainer.loss_of(batch).item() == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_contrastive_term_is_that_of_two_views_of_the_unlabelled_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    labelled, batch, losses = [True, False, True, False, False], random_batch(5, seed, views=3), []
    monkeypatch.setattr(module, "draw_mixing", lambda allowed, alpha: Mixing(torch.arange(5), torch.ones(5, 1)))
    for weight in (0.0, 0.5):
        trainer = ready(tmp_path, lambda_c=weight, data_collator=views_collator(2))
        trainer.split.epoch = 1
        monkeypatch.setattr(trainer.split, "of", lambda ids: (torch.tensor(labelled), torch.ones(5)))
        losses.append(trainer.loss_of(batch).item())
    want = 0.0
    for name in HEADS:
        # Of each row: itself and its two views. Labelled rows count as zeros.
        by_row = batch.outputs[name].reshape(5, 3, 2) * ~torch.tensor(labelled)[:, None, None]
        pairs = [*by_row[:, 1].tolist(), *by_row[:, 2].tolist()]
        want += slow_supervised_contrastive(pairs, [*range(5), *range(5)], None, 0.05)
    assert want > 1
    assert losses[1] - losses[0] == pytest.approx(0.5 * want, rel=1e-4)


def test_rows_are_judged_by_the_divergence_of_the_mean_of_both_networks(tmp_path: Path) -> None:
    trainer, batch = ready(tmp_path), random_batch(5, seed=0)
    trainer.loss_of(batch)
    divergences = trainer.split.state_dict()["divergences"]
    for row, label in enumerate(batch.labels.tolist()):
        p, q = (slow_softmax(batch.outputs[name][row].tolist()) for name in ("logits", "auxiliary_logits"))
        mean = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        want = slow_divergence(mean, [float(k == label) for k in range(3)])
        assert divergences[row].item() == pytest.approx(want, rel=1e-4)
        assert trainer.row_scores().scores[row].item() == pytest.approx(1 - want, rel=1e-4)


def test_rows_are_picked_and_believed_by_what_was_known_before_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, batch = ready(tmp_path), random_batch(6, seed=1)
    known = [0.1, 0.9, 0.6, 0.2, 0.8, 0.7]
    trainer.split.update(batch.rows.ids, torch.tensor(known))
    trainer.row_statistics.record(trainer.row_statistics.observe(batch.rows.ids, batch.labels, batch.logits))
    seen: list[Examples] = []

    def watch(head: Any, examples: Examples, *rest: Any) -> torch.Tensor:
        seen.append(examples)
        return torch.zeros(())

    monkeypatch.setattr("lane_hf.baselines.unicon.mixmatch_loss", watch)
    trainer.loss_of(batch)
    picked, beliefs = slow_selection(known, batch.labels.tolist(), 3), [1.0 if d < 0.5 else 1 - d for d in known]
    assert {belief < 1 for belief, chosen in zip(beliefs, picked, strict=True) if chosen} == {True, False}
    assert [each.labelled.tolist() for each in seen] == [picked, picked]
    for examples, name in zip(seen, ("logits", "auxiliary_logits"), strict=True):
        for row in torch.nonzero(torch.tensor(picked)).flatten().tolist():
            p, belief, label = slow_softmax(batch.outputs[name][row].tolist()), beliefs[row], int(batch.labels[row])
            mixed = [belief * (k == label) + (1 - belief) * share for k, share in enumerate(p)]
            assert examples.targets[row].tolist() == pytest.approx(sharpened(mixed), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("views", [1, 2])
def test_views_are_the_strong_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, views: int) -> None:
    view = TokenView(lambda ids, seed: [ids[0], *reversed(ids[1:-1]), ids[-1]])
    collator = ViewsCollator(DataCollatorWithPadding(make_tokenizer()), view, views, seed=0)
    seen, contrasted, batches = [], [], []
    trainer = make(tmp_path, data_collator=collator, num_train_epochs=2, mixmatch_warmup=0.5)
    original = module.mixmatch_loss

    def watch(head: Any, examples: Any, *rest: Any) -> torch.Tensor:
        seen.append(examples)
        return original(head, examples, *rest)

    monkeypatch.setattr("lane_hf.baselines.unicon.mixmatch_loss", watch)
    contrast = torch.nn.Identity()
    monkeypatch.setattr(
        "lane_hf.baselines.unicon.supervised_contrastive_loss",
        lambda pairs, labels, temperature: (contrasted.append(labels), contrast(pairs).sum() * 0)[1],
    )
    loss_of = trainer.loss_of
    trainer.loss_of = lambda batch: (batches.append(batch), loss_of(batch))[1]
    trainer.train()
    last = batches[-1].outputs
    assert torch.equal(seen[-2].features, last["features"][1 :: views + 1])
    assert torch.equal(seen[-1].features, last["auxiliary_features"][1 :: views + 1])
    assert all(len(examples.targets) == len(examples.features) == 8 for examples in seen)
    # Two views of a row are each other's only positive; with one view there is nothing to compare.
    assert len(contrasted) == (len(seen) if views == 2 else 0)
    for labels in contrasted:
        assert labels.tolist() == [*range(8), *range(8)]


def test_the_warmup_is_plain_cross_entropy_of_both(tmp_path: Path) -> None:
    trainer = make(tmp_path, mixmatch_warmup=5.0, dropout=0.0, max_steps=1)
    seen = []
    original = trainer.loss_of
    trainer.loss_of = lambda batch: (seen.append(batch), original(batch))[1]
    trainer.train()
    batch = seen[0]
    want = sum(F.cross_entropy(batch.outputs[name], batch.labels) for name in ("logits", "auxiliary_logits"))
    assert logged(trainer, "loss_method")[0] == pytest.approx(want.item(), abs=1e-5)


def test_wrong_labels_are_ranked_low_and_left_unlabelled(tmp_path: Path) -> None:
    data = make_text_dataset(256, 4, tokenizer=make_tokenizer())
    noisy = inject_into_dataset(data, kind="uniform", rate=0.25, seed=3)
    flipped = np.asarray(noisy["is_flipped"])
    rows = noisy.remove_columns(["is_flipped", "original_label"])
    trainer = make(tmp_path, train_dataset=rows, num_train_epochs=8, learning_rate=3e-3, mixmatch_warmup=3.0)
    trainer.train()
    scores = trainer.label_issues().set_index("row_id").sort_index()["score"].to_numpy()
    assert (scores[~flipped][:, None] > scores[flipped][None, :]).mean() > 0.9
    labelled = trainer.split.of(torch.arange(256))[0].numpy()
    assert labelled[~flipped].mean() > 2 * labelled[flipped].mean()


@pytest.mark.parametrize("name", ["mixmatch_warmup", "mixup_alpha", "lambda_u", "lambda_u_ramp", "lambda_c"])
def test_wrong_options(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} must be in"):
        UniconConfig(output_dir=str(tmp_path), **{name: -0.1})
