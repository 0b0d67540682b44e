"""SelfMix: its terms against plain loops, and its loss replayed by hand."""

import math
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from references import slow_softmax
from tiny import make_text_dataset, make_tokenizer
from torch.nn import functional as F
from training import logged, make_trainer

from lane_hf import InputError
from lane_hf.baselines import SelfMixConfig, SelfMixTrainer
from lane_hf.baselines import self_mix as module
from lane_hf.baselines.base import Batch
from lane_hf.baselines.self_mix import bounded_score, least_likely_term, symmetric_divergence
from lane_hf.mixup import Mixing
from lane_hf.noisy_dataset import inject_into_dataset
from lane_hf.step_rows import StepRows

HEAD = torch.tensor([[1.0, -1.0, 0.5], [0.0, 2.0, -1.0]])  # from 2 features to 3 labels


def make(folder: Path, kind: type[SelfMixTrainer] = SelfMixTrainer, **options: Any) -> SelfMixTrainer:
    return make_trainer(folder, kind=kind, args_kind=SelfMixConfig, **options)


class WithFixedHead(SelfMixTrainer):
    """Its joint model is a matrix."""

    joint_model = SimpleNamespace(logits_of=lambda features: features @ HEAD)


def ready(folder: Path, **options: Any) -> SelfMixTrainer:
    trainer = make(folder, WithFixedHead, **options)
    trainer.num_labels = 3
    trainer.reset_rows()
    trainer.state.max_steps, trainer.state.global_step, trainer.state.epoch = 10, 8, 2.0
    return trainer


def random_batch(rows: int, seed: int, finite: list[float] | None = None) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, 2, generator=generator)
    logits, second = features @ HEAD, torch.randn(rows, 3, generator=generator)
    labels = torch.randint(0, 3, (rows,), generator=generator)
    kept = torch.ones(rows) if finite is None else torch.tensor(finite)
    outputs = {"features": features, "second_logits": second, "logits": logits}
    return Batch(logits, labels, kept, StepRows(torch.arange(rows), rows, rows, rows, 1), outputs, labels)


@pytest.mark.parametrize("seed", range(3))
def test_terms_agree_with_loops(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = (3 * torch.randn(6, 4, generator=generator) for _ in range(2))
    labels = torch.randint(0, 4, (6,), generator=generator)
    rows = list(zip(first.tolist(), second.tolist(), labels.tolist(), strict=True))
    scores, least, divergence = [], [], []
    for z, other, y in rows:
        p, q = slow_softmax(z), slow_softmax(other)
        scores.append(-p[y] + math.log(sum(map(math.exp, p))))
        least.append(-math.log(min(p)))
        both = (
            sum(a * math.log(a / b) for a, b in pairs) for pairs in (zip(p, q, strict=True), zip(q, p, strict=True))
        )
        divergence.append(sum(both) / 2)
    logs = first.log_softmax(dim=1), second.log_softmax(dim=1)
    assert bounded_score(first, labels).tolist() == pytest.approx(scores, rel=1e-5)
    assert least_likely_term(logs[0]).tolist() == pytest.approx(least, rel=1e-5)
    assert symmetric_divergence(*logs).tolist() == pytest.approx(divergence, rel=1e-4, abs=1e-6)


def test_the_score_is_bounded() -> None:
    scores = bounded_score(torch.tensor([[1e4, 0.0, 0.0], [0.0, 1e4, 0.0]]), torch.tensor([0, 0]))
    assert scores.tolist() == pytest.approx([math.log(math.e + 2) - 1, math.log(math.e + 2)])


@pytest.mark.parametrize("finite", [[1.0] * 5, [1.0, 0.0, 1.0, 1.0, 0.0]])
def test_the_loss_is_that_of_the_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finite: list[float]) -> None:
    trainer = ready(tmp_path, lambda_p=0.2, lambda_r=3.0, mixup_alpha=1.5)
    trusted = torch.tensor([True, False, True, False, False])
    monkeypatch.setattr(trainer, "_trusted", lambda ids, labels: trusted)
    usable = [row for row in range(5) if finite[row]]
    partners = {row: usable[(place + 1) % len(usable)] for place, row in enumerate(usable)}
    mixing = Mixing(
        torch.tensor([partners.get(row, row) for row in range(5)]), torch.tensor([[0.9, 0.6, 0.7, 0.8, 1.0]]).T
    )

    def draw(allowed: torch.Tensor, alpha: float) -> Mixing:
        assert allowed.tolist() == [bool(value) for value in finite]
        assert alpha == 1.5
        return mixing

    monkeypatch.setattr(module, "draw_mixing", draw)
    batch = random_batch(5, seed=0, finite=finite)
    loss = trainer.loss_of(batch)
    views = [[slow_softmax(row) for row in z.tolist()] for z in (batch.logits, batch.outputs["second_logits"])]
    targets = []
    for row, label in enumerate(batch.labels.tolist()):
        squares = [((a + b) / 2) ** 2 for a, b in zip(views[0][row], views[1][row], strict=True)]
        guess = [square / sum(squares) for square in squares]
        targets.append([float(k == label) for k in range(3)] if trusted[row] else guess)
    want, doubted = 0.0, [row for row in usable if not trusted[row]]
    for row in usable:
        share, partner = mixing.shares[row].item(), int(mixing.partners[row])
        features = share * batch.outputs["features"][row] + (1 - share) * batch.outputs["features"][partner]
        logs = [math.log(p) for p in slow_softmax((features @ HEAD).tolist())]
        target = [share * a + (1 - share) * b for a, b in zip(targets[row], targets[partner], strict=True)]
        want -= sum(t * log for t, log in zip(target, logs, strict=True)) / 5
    for row in doubted:  # however few of them a batch has, they count as much
        p, q = views[0][row], views[1][row]
        want += 0.2 * -(math.log(min(p)) + math.log(min(q))) / 2 / len(doubted)
        want += 3.0 * sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True)) / 2 / len(doubted)
    assert loss.item() == pytest.approx(want, rel=1e-4)


def test_rows_are_trusted_by_what_was_known_before_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, batch = ready(tmp_path), random_batch(6, seed=0)
    scores = torch.tensor([0.7, 1.5, 0.71, 1.51, 0.7, 1.5])
    trainer.split.update(batch.rows.ids, scores)
    trainer.row_statistics.record(trainer.row_statistics.observe(batch.rows.ids, batch.labels, batch.logits))
    seen: list[list[bool]] = []
    monkeypatch.setattr(trainer, "_self_mix", lambda batch, trusted: seen.append(trusted.tolist()))
    trainer.loss_of(batch)
    trainer.loss_of(batch)
    assert seen[0] == (scores < 1).tolist()
    assert seen[1] != seen[0]  # what the first step has shown is known in the second


def test_a_batch_without_a_finite_row_gives_a_zero_with_a_gradient(tmp_path: Path) -> None:
    trainer = ready(tmp_path)
    batch = random_batch(3, seed=1, finite=[0.0, 0.0, 0.0])
    features = torch.full((3, 2), math.nan, requires_grad=True)
    outputs = {"features": features, "second_logits": torch.full((3, 3), math.nan), "logits": batch.logits}
    logits = torch.zeros(3, 3, requires_grad=True)
    loss = trainer.loss_of(batch._replace(logits=logits, outputs=outputs))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros(3, 3))


def test_two_dropout_views_differ_and_come_from_one_pass(tmp_path: Path) -> None:
    trainer = make(tmp_path, selfmix_warmup=0.0, max_steps=2)
    seen = []
    original = trainer.loss_of
    trainer.loss_of = lambda batch: (seen.append(batch), original(batch))[1]
    trainer.train()
    assert len(seen) == 2
    for batch in seen:
        assert batch.logits.shape == batch.outputs["second_logits"].shape == (8, 4)
        assert not torch.allclose(batch.logits, batch.outputs["second_logits"].float(), atol=1e-4)


def test_the_warmup_is_plain_cross_entropy(tmp_path: Path) -> None:
    trainer = make(tmp_path, selfmix_warmup=1.0, dropout=0.0, max_steps=1)
    seen = []
    original = trainer.loss_of
    trainer.loss_of = lambda batch: (seen.append(batch), original(batch))[1]
    trainer.train()
    want = F.cross_entropy(seen[0].logits, seen[0].labels).item()
    assert logged(trainer, "loss_method")[0] == pytest.approx(want, abs=1e-5)
    assert "second_logits" not in seen[0].outputs


@pytest.mark.parametrize(
    ("epochs", "share", "steps"),
    [(5, 1 / 3, 2 * 4), (3, 1 / 3, 4), (2, 0.5, 4), (2, 0.75, 6), (1, 1 / 3, 2), (3, 0.0, 0)],
)
def test_the_warmup_ends_with_an_epoch_unless_that_is_the_last_one(
    tmp_path: Path, epochs: int, share: float, steps: int
) -> None:
    data = make_text_dataset(32, 4, tokenizer=make_tokenizer())
    trainer = make(tmp_path, train_dataset=data, num_train_epochs=epochs, selfmix_warmup=share)
    seen = []
    original = trainer.loss_of
    trainer.loss_of = lambda batch: (seen.append("second_logits" not in batch.outputs), original(batch))[1]
    trainer.train()
    assert seen == [True] * steps + [False] * (4 * epochs - steps)


def test_if_no_row_is_trusted_all_are_and_it_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lane_hf.baselines.clean_split.clean_probability", lambda values, mixture, groups: torch.zeros_like(values)
    )
    trainer = make(tmp_path, selfmix_warmup=0.25, num_train_epochs=4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.train()
    assert len([each for each in caught if "SelfMix trusts no row" in str(each.message)]) == 1
    assert set(logged(trainer, "self_mix/trusted")) == {1.0}


@pytest.mark.parametrize("class_reg", [False, True])
def test_wrong_labels_are_doubted(tmp_path: Path, class_reg: bool) -> None:
    data = make_text_dataset(256, 4, tokenizer=make_tokenizer())
    noisy = inject_into_dataset(data, kind="uniform", rate=0.25, seed=3)
    flipped = np.asarray(noisy["is_flipped"])
    trainer = make(
        tmp_path,
        train_dataset=noisy.remove_columns(["is_flipped", "original_label"]),
        num_train_epochs=9,
        learning_rate=3e-3,
        class_reg=class_reg,
    )
    trainer.train()
    scores = trainer.label_issues().set_index("row_id").sort_index()["score"].to_numpy()
    assert (scores[~flipped][:, None] > scores[flipped][None, :]).mean() > 0.9
    assert 0.5 < np.mean(logged(trainer, "self_mix/trusted")[-32:]) < 0.95


@pytest.mark.parametrize("name", ["selfmix_warmup", "mixup_alpha", "lambda_p", "lambda_r"])
def test_wrong_options(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} must be in"):
        SelfMixConfig(output_dir=str(tmp_path), **{name: -0.1})
