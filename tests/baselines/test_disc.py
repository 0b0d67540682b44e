"""DISC: subsets and thresholds against row-by-row versions, and the loss of a batch replayed by hand."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from references import slow_softmax
from tiny import make_text_dataset, make_tokenizer
from training import logged, make_trainer
from transformers import DataCollatorWithPadding

from lane_hf import InputError
from lane_hf.augmentation.collator import TokenView, ViewsCollator
from lane_hf.baselines import DiscConfig, DiscTrainer
from lane_hf.baselines import disc as module
from lane_hf.baselines.base import Batch
from lane_hf.baselines.disc import InstanceThresholds, Subsets, subsets
from lane_hf.mixup import Mixing
from lane_hf.noisy_dataset import inject_into_dataset
from lane_hf.step_rows import StepRows

HEAD = torch.tensor([[1.0, -1.0, 0.5], [0.0, 2.0, -1.0]])


def make(folder: Path, kind: type[DiscTrainer] = DiscTrainer, **options: Any) -> DiscTrainer:
    return make_trainer(folder, kind=kind, args_kind=DiscConfig, **options)


class WithFixedHead(DiscTrainer):
    """Its joint model is a matrix."""

    joint_model = SimpleNamespace(logits_of=lambda features: features @ HEAD)


class SlowRow:
    """One row's thresholds and what it is taken for."""

    def __init__(self, label: int) -> None:
        self.label = label
        self.sums, self.updates = [0.0, 0.0], 0
        self.kind, self.mended = "clean", label

    def tell(self, p: list[float], q: list[float], momentum: float, sigma: float) -> None:
        correction = 1 - momentum ** max(self.updates, 1)
        tau_p, tau_q = (total / correction for total in self.sums)
        above = [p[self.label] > tau_p, q[self.label] > tau_q]
        mean = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        self.mended = self.label
        if all(above):
            self.kind = "clean"
        elif any(above):
            self.kind = "hard"
        elif max(mean) > min((tau_p + tau_q) / 2 + sigma, 0.99):
            self.kind, self.mended = "purified", mean.index(max(mean))
        else:
            self.kind = "none"
        self.sums = [momentum * old + (1 - momentum) * max(r) for old, r in zip(self.sums, (p, q), strict=True)]
        self.updates += 1


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_subsets_and_thresholds_agree_with_a_row_by_row_version(momentum: float, sigma: float) -> None:
    rows, num_labels = 60, 4
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, num_labels, (rows,), generator=generator)
    fast, slow = InstanceThresholds(rows, momentum, sigma), [SlowRow(int(y)) for y in labels]
    kinds: set[str] = set()
    for epoch in range(1, 6):
        p, q = ((4 * torch.randn(rows, num_labels, generator=generator)).softmax(dim=1) for _ in range(2))
        given = [probs.gather(1, labels[:, None]).squeeze(1) for probs in (p, q)]
        mean, best = ((p + q) / 2).max(dim=1)
        shown = torch.stack([*given, mean, best.float(), p.amax(dim=1), q.amax(dim=1)], dim=1)
        fast.update(torch.arange(rows), shown)
        fast.tell(labels, epoch)
        told = fast.of(torch.arange(rows), labels)
        for row in range(rows):
            slow[row].tell(p[row].tolist(), q[row].tolist(), momentum, sigma)
            kinds.add(slow[row].kind)
            flags = [bool(told.clean[row]), bool(told.hard[row]), bool(told.purified[row])]
            assert flags == [slow[row].kind == name for name in ("clean", "hard", "purified")], (epoch, row)
            assert int(told.labels[row]) == slow[row].mended
    assert kinds == {"clean", "hard", "purified", "none"}


def test_rows_never_seen_and_padding_are_clean() -> None:
    thresholds = InstanceThresholds(3, 0.9, 0.5)
    thresholds.update(torch.tensor([0, -1]), torch.tensor([[0.1, 0.1, 0.9, 1.0, 0.9, 0.9]] * 2))
    thresholds.update(torch.tensor([2]), torch.full((1, 6), math.nan))
    thresholds.tell(torch.tensor([0, -1, -1]), epoch=1)
    told = thresholds.of(torch.tensor([1, 2, -1]), torch.tensor([0, 1, 1]))
    assert told.clean.tolist() == [True] * 3
    assert told.labels.tolist() == [0, 1, 1]


def test_clean_and_hard_rows_are_told_apart() -> None:
    visit = torch.tensor([[0.9, 0.9, 0.9], [0.9, 0.1, 0.5], [0.1, 0.9, 0.5], [0.1, 0.1, 0.1]])
    told = subsets(visit, torch.full((4, 2), 0.5), torch.zeros(4).long(), torch.ones(4).long(), sigma=0.5)
    assert told.clean.tolist() == [True, False, False, False]
    assert told.hard.tolist() == [False, True, True, False]
    assert told.purified.tolist() == [False] * 4


def test_the_surest_threshold_of_purification() -> None:
    visit = torch.tensor([[0.0, 0.0, 0.995], [0.0, 0.0, 0.985]])
    told = subsets(visit, torch.full((2, 2), 0.9), torch.tensor([0, 0]), torch.tensor([1, 1]), sigma=0.5)
    assert told.purified.tolist() == [True, False]
    assert told.labels.tolist() == [1, 0]


def test_a_state_is_continued_from() -> None:
    first, again = InstanceThresholds(2, 0.5, 0.1), InstanceThresholds(2, 0.5, 0.1)
    first.update(torch.tensor([0, 1]), torch.rand(2, 6, generator=torch.Generator().manual_seed(0)))
    first.tell(torch.tensor([0, 1]), epoch=3)
    again.load_state_dict(first.state_dict())
    assert again.epoch == 3
    ids, labels = torch.arange(2), torch.tensor([0, 1])
    assert all(torch.equal(a, b) for a, b in zip(first.of(ids, labels), again.of(ids, labels), strict=True))
    with pytest.raises(ValueError, match="belongs to another data set"):
        InstanceThresholds(3, 0.5, 0.1).load_state_dict(first.state_dict())


def ready(folder: Path, **options: Any) -> DiscTrainer:
    trainer = make(folder, WithFixedHead, **options)
    trainer.num_labels = 3
    trainer.reset_rows()
    trainer.state.max_steps, trainer.state.global_step, trainer.state.epoch = 10, 8, 2.0
    return trainer


def random_batch(rows: int, seed: int, finite: list[float]) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    features = [torch.randn(rows, 2, generator=generator) for _ in range(2)]
    views = [each @ HEAD for each in features]
    labels = torch.randint(0, 3, (rows,), generator=generator)
    outputs = {"features": features[0], "second_features": features[1], "second_logits": views[1], "logits": views[0]}
    ids = StepRows(torch.arange(rows), rows, rows, rows, 1)
    return Batch(views[0], labels, torch.tensor(finite), ids, outputs, labels)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("finite", [[1.0] * 6, [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]])
def test_the_loss_is_that_of_the_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, finite: list[float]
) -> None:
    trainer = ready(tmp_path, lambda_h=0.7, mixup_alpha=2.0)
    batch = random_batch(6, seed, finite)
    features, labels = [batch.outputs[name] for name in ("features", "second_features")], batch.labels
    flags = [
        torch.tensor(values, dtype=torch.bool)
        for values in ([1, 0, 1, 0, 0, 1], [0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0])
    ]
    mended = labels.clone()
    mended[3] = (labels[3] + 1) % 3
    monkeypatch.setattr(trainer.thresholds, "tell", lambda known, epoch: None)
    monkeypatch.setattr(trainer.thresholds, "of", lambda ids, given: Subsets(*flags, mended))
    chosen = [row for row in (0, 1, 2, 3, 5) if finite[row]]
    partners = {row: chosen[(place + 1) % len(chosen)] for place, row in enumerate(chosen)}
    shares = torch.rand(6, 1, generator=torch.Generator().manual_seed(seed)) / 2 + 0.5
    mixing = Mixing(torch.tensor([partners.get(row, row) for row in range(6)]), shares)

    def draw(allowed: torch.Tensor, alpha: float) -> Mixing:
        assert torch.nonzero(allowed).flatten().tolist() == chosen
        assert alpha == 2.0
        return mixing

    monkeypatch.setattr(module, "draw_mixing", draw)
    loss = trainer.loss_of(batch)
    want = 0.0
    for own in features:
        probs = [slow_softmax(row) for row in (own @ HEAD).tolist()]
        for row, label in enumerate(labels.tolist()):
            given = probs[row][label]
            if flags[0][row] and finite[row]:
                want -= math.log(given) / 6
            if flags[1][row] and finite[row]:
                want += 0.7 * (1 - given**0.7) / 0.7 / 6
        for row in chosen:
            share, partner = shares[row].item(), partners[row]
            logs = [
                math.log(p) for p in slow_softmax(((share * own[row] + (1 - share) * own[partner]) @ HEAD).tolist())
            ]
            want -= (share * logs[mended[row]] + (1 - share) * logs[mended[partner]]) / len(chosen)
    assert loss.item() == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("finite", [[1.0] * 6, [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]])
def test_the_warmup_is_plain_cross_entropy_of_both_views(tmp_path: Path, finite: list[float]) -> None:
    trainer, batch = ready(tmp_path, disc_warmup=5.0), random_batch(6, 0, finite)
    want = 0.0
    for name in ("logits", "second_logits"):
        for row, label, kept in zip(batch.outputs[name].tolist(), batch.labels.tolist(), finite, strict=True):
            want -= kept * math.log(slow_softmax(row)[label]) / 6
    assert trainer.loss_of(batch).item() == pytest.approx(want, rel=1e-5)


def test_what_a_step_shows_of_each_row_is_recorded(tmp_path: Path) -> None:
    trainer, batch = ready(tmp_path), random_batch(6, 0, [1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    trainer.loss_of(batch)
    visits = trainer.thresholds.state_dict()["visits"]
    assert visits[2].isnan().all()
    for row in (0, 1, 3, 4, 5):
        p, q = (slow_softmax(batch.outputs[name][row].tolist()) for name in ("logits", "second_logits"))
        label, mean = int(batch.labels[row]), [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        want = [p[label], q[label], max(mean), mean.index(max(mean)), max(p), max(q)]
        assert visits[row].tolist() == pytest.approx(want, rel=1e-5)
        assert trainer.row_scores().scores[row].item() == pytest.approx((p[label] + q[label]) / 2, rel=1e-5)


def test_a_batch_without_a_chosen_row_gives_a_zero_with_a_gradient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = ready(tmp_path)
    nobody = torch.zeros(3, dtype=torch.bool)
    labels = torch.tensor([0, 1, 2])
    monkeypatch.setattr(trainer.thresholds, "tell", lambda known, epoch: None)
    monkeypatch.setattr(trainer.thresholds, "of", lambda ids, given: Subsets(nobody, nobody, nobody, labels))
    features = torch.randn(3, 2, requires_grad=True)
    logits = features @ HEAD
    outputs = {"features": features, "second_features": features, "second_logits": logits, "logits": logits}
    loss = trainer.loss_of(
        Batch(logits, labels, torch.ones(3), StepRows(torch.arange(3), 3, 3, 3, 1), outputs, labels)
    )
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(features.grad, torch.zeros(3, 2))


def test_the_first_view_is_the_strong_one(tmp_path: Path) -> None:
    view = TokenView(lambda ids, seed: [ids[0], *reversed(ids[1:-1]), ids[-1]])
    collator = ViewsCollator(DataCollatorWithPadding(make_tokenizer()), view, 2, seed=0)
    trainer = make(tmp_path, data_collator=collator, num_train_epochs=3)
    seen = []
    original = trainer._record
    trainer._record = lambda batch, views, *rest: (seen.append((batch, views)), original(batch, views, *rest))[1]
    trainer.train()
    assert len(seen) == 24
    for batch, (weak, strong) in seen:
        assert torch.equal(weak, batch.logits[::3])
        assert torch.equal(strong, batch.logits[1::3])
        assert "second_logits" not in batch.outputs


def test_wrong_labels_are_ranked_low_and_some_are_mended(tmp_path: Path) -> None:
    data = make_text_dataset(256, 4, tokenizer=make_tokenizer())
    noisy = inject_into_dataset(data, kind="uniform", rate=0.25, seed=3)
    flipped, true = np.asarray(noisy["is_flipped"]), np.asarray(noisy["original_label"])
    rows = noisy.remove_columns(["is_flipped", "original_label"])
    trainer = make(
        tmp_path, train_dataset=rows, num_train_epochs=8, learning_rate=3e-3, disc_warmup=4.0, disc_sigma=0.2
    )
    trainer.train()
    scores = trainer.label_issues().set_index("row_id").sort_index()["score"].to_numpy()
    assert (scores[~flipped][:, None] > scores[flipped][None, :]).mean() > 0.9
    told = trainer.thresholds.of(torch.arange(256), trainer.row_statistics.labels)
    purified = told.purified.numpy()
    assert purified.sum() > 5
    assert (told.labels.numpy()[purified] == true[purified]).mean() > 0.8
    assert max(logged(trainer, "disc/purified")) > 0


@pytest.mark.parametrize("name", ["disc_warmup", "disc_momentum", "disc_sigma", "lambda_h", "mixup_alpha"])
def test_wrong_options(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} must be in"):
        DiscConfig(output_dir=str(tmp_path), **{name: -0.1})
