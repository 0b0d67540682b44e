"""Weights of rows against the formulas, one row at a time, and when they are computed anew."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from references import slow_gaussian_weight, slow_negative_stats
from torch import Tensor

from lane_hf import row_weights
from lane_hf.buffer import AlmBuffer
from lane_hf.config import LaneConfig
from lane_hf.learned_labels import learned_shares
from lane_hf.mixture import Mixture, clean_probability, fit_mixture
from lane_hf.noise_probability import noise_probability
from lane_hf.row_statistics import Observation, RowStatistics
from lane_hf.row_weights import RowWeights

LABELS = 2
AVERAGES = [-4.0, -1.0, -0.5, 2.0, 3.0, -2.0, 1.0, 0.0]


def make_weights(tmp_path: Path, **options: Any) -> RowWeights:
    settings = {"report_to": [], "use_cpu": True, "weighting": "mixture", "weighting_warmup": 1.0}
    settings |= {"wait_for_labels": False, **options}
    return RowWeights(LaneConfig(output_dir=str(tmp_path), **settings), LABELS, num_rows=61)


class Known(NamedTuple):
    """What is known of the rows besides their averages: as much of `RowStatistics` as the mixture needs."""

    labels: Tensor

    @property
    def visits(self) -> Tensor:
        return (self.labels >= 0).int()


def make_buffer(averages: list[float] = AVERAGES, unseen: int = 1) -> AlmBuffer:
    """A buffer that holds these averages, and some rows more that were never seen."""
    buffer = AlmBuffer(len(averages) + unseen)
    buffer.update(torch.arange(len(averages)), torch.tensor(averages))
    return buffer


def two_humps(num_rows: int = 60) -> tuple[AlmBuffer, Known]:
    """Averages of two labels, a third of them mislabelled; label 1 lies lower throughout; the last row is unseen."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(num_rows) % LABELS
    bad = torch.arange(num_rows) % 3 == 0
    averages = torch.where(bad, -4.0, 3.0) - 5.0 * labels + 0.5 * torch.randn(num_rows, generator=generator)
    return make_buffer(averages.tolist()), Known(torch.cat([labels, torch.tensor([-1])]))


def of_batch(
    weights: RowWeights,
    buffer: AlmBuffer,
    row_ids: list[int],
    epoch: float = 1.0,
    all_row_ids: list[int] | None = None,
) -> list[float]:
    ids = torch.tensor(row_ids)
    everybody = ids if all_row_ids is None else torch.tensor(all_row_ids)
    result = weights.of_batch(buffer, ids, ids % LABELS, everybody, epoch)
    assert result.dtype == torch.float32
    assert result.shape == ids.shape
    return result.tolist()


def test_gaussian_over_the_data_set(tmp_path: Path) -> None:
    weights, buffer = make_weights(tmp_path, weighting="gaussian"), make_buffer()
    mean, variance, _ = slow_negative_stats(AVERAGES)
    expected = [slow_gaussian_weight(value, mean, variance) for value in AVERAGES]
    assert sum(weight < 1 for weight in expected) == 2
    assert of_batch(weights, buffer, [0, 3, 5, 1]) == pytest.approx([expected[row] for row in (0, 3, 5, 1)], rel=1e-5)
    assert weights.of_all(buffer, Known(torch.zeros(9).long())).tolist() == pytest.approx([*expected, 1.0], rel=1e-5)


def test_gaussian_over_the_batch_of_all_processes(tmp_path: Path) -> None:
    weights = make_weights(tmp_path, weighting="gaussian", statistics="batch")
    buffer = make_buffer()
    mean, variance, _ = slow_negative_stats([AVERAGES[row] for row in (0, 1, 2, 3)])
    expected = [slow_gaussian_weight(AVERAGES[row], mean, variance) for row in (0, 3)]
    assert expected[0] < 0.9
    # Rows that fill up the batch do not count twice, and padding does not count at all.
    assert of_batch(weights, buffer, [0, 3], all_row_ids=[0, 3, 1, 2, 0, 0, -1, -1]) == pytest.approx(
        expected, rel=1e-5
    )
    # The weights after training go over the data set.
    by_data_set = make_weights(tmp_path, weighting="gaussian").of_all(buffer, Known(torch.zeros(9).long()))
    assert torch.equal(weights.of_all(buffer, Known(torch.zeros(9).long())), by_data_set)


def test_gaussian_with_a_threshold(tmp_path: Path) -> None:
    weights, buffer = make_weights(tmp_path, weighting="gaussian", threshold=-0.75), make_buffer()
    expected = [slow_gaussian_weight(value, -0.75, 1.0) for value in AVERAGES]
    assert of_batch(weights, buffer, list(range(8))) == pytest.approx(expected, rel=1e-5)
    # A threshold needs no negative rows, and also judges a single one.
    one = make_buffer([-2.0, 1.0])
    assert of_batch(weights, one, [0, 1]) == pytest.approx([slow_gaussian_weight(-2.0, -0.75, 1.0), 1.0], rel=1e-5)


@pytest.mark.parametrize("statistics", ["dataset", "batch"])
@pytest.mark.parametrize("averages", [[-2.0, 1.0, 3.0], [0.0, 1.0, 3.0]])
def test_one_negative_row_or_none_is_no_evidence(tmp_path: Path, statistics: str, averages: list[float]) -> None:
    weights, buffer = make_weights(tmp_path, weighting="gaussian", statistics=statistics), make_buffer(averages)
    assert of_batch(weights, buffer, [0, 1, 2]) == [1.0, 1.0, 1.0]
    assert weights.of_all(buffer, Known(torch.zeros(4).long())).tolist() == [1.0] * 4


def test_rows_never_seen_weigh_one_after_training(tmp_path: Path) -> None:
    by_threshold = make_weights(tmp_path, weighting="gaussian", threshold=2.0)
    assert by_threshold.of_all(make_buffer([0.0, 3.0]), Known(torch.zeros(3).long())).tolist() == [
        pytest.approx(slow_gaussian_weight(0.0, 2.0, 1.0), rel=1e-5),
        *(1.0, 1.0),
    ]
    buffer, known = two_humps()
    weights = make_weights(tmp_path).of_all(make_buffer(buffer.average()[:60].tolist()), known)
    assert weights[-1].item() == 1.0
    assert weights[:-1].min().item() < 0.1


def test_rows_whose_label_the_classifier_prefers_are_never_doubted(tmp_path: Path) -> None:
    # Two humps, but both above 0: a mixture finds two components in clean data as well.
    buffer, known = two_humps()
    labels = known.labels
    averages = buffer.average()[:60]
    high = make_buffer((averages - averages.min() + 1).tolist())
    assert make_weights(tmp_path).of_all(high, known).tolist() == [1.0] * len(labels)


@pytest.mark.parametrize("weighting", ["gaussian", "mixture"])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 2.0])
def test_all_rows_weigh_one_until_the_warm_up_is_over(tmp_path: Path, weighting: str, warmup: float) -> None:
    weights = make_weights(tmp_path, weighting=weighting, weighting_warmup=warmup)
    buffer, known = two_humps()
    rows = list(range(60))
    for epoch in (0.0, 0.49, 0.5, 1.0, 1.99, 2.0, 3.7):
        weights.refit_if_due(buffer, known, epoch)
        assert (of_batch(weights, buffer, rows, epoch) == [1.0] * 60) == (epoch < warmup)


@pytest.mark.parametrize("weighting", ["gaussian", "mixture", "posterior"])
def test_without_reweighting_all_rows_weigh_one(tmp_path: Path, weighting: str) -> None:
    weights = make_weights(tmp_path, weighting=weighting, reweight=False)
    buffer, known = two_humps()
    weights.refit_if_due(buffer, known, 2.0)
    assert of_batch(weights, buffer, [0, 1, 2], epoch=2.0) == [1.0] * 3
    assert weights.of_all(buffer, known).tolist() == [1.0] * 61
    assert int(weights.state_dict()["epoch"]) == -1  # no mixture was fitted for nothing


def test_mixture_per_given_label(tmp_path: Path) -> None:
    weights = make_weights(tmp_path)
    buffer, known = two_humps()
    labels = known.labels
    weights.refit_if_due(buffer, known, 1.0)
    averages = buffer.average()[:60]
    expected = clean_probability(averages, fit_mixture(averages, labels[:60], LABELS), labels[:60])
    assert of_batch(weights, buffer, list(range(60))) == pytest.approx(expected.tolist(), abs=1e-6)
    # Clean rows of label 1 lie as low as mislabelled ones of label 0, and yet they count.
    clean = torch.arange(60) % 3 != 0
    assert (expected[clean] > 0.9).all()
    assert (expected[~clean] < 0.1).all()
    assert weights.of_all(buffer, known).tolist() == pytest.approx([*expected.tolist(), 1.0], abs=1e-6)


def test_the_posterior_is_what_the_table_says(tmp_path: Path) -> None:
    weights = make_weights(tmp_path, weighting="posterior")
    buffer, known = two_humps()
    labels = known.labels[:60]
    averages, rows = buffer.average()[:60], torch.arange(60)
    confidence, others = torch.sigmoid(averages), 1 - labels
    known = RowStatistics(61, LABELS)
    known.record(Observation(rows, labels, averages, confidence, others, 1 - confidence))
    expected = 1 - noise_probability(averages, confidence, labels, LABELS, others)
    assert ((expected > 0.1) & (expected < 0.9)).any()  # neither opinion alone
    assert weights.of_all(buffer, known).tolist() == pytest.approx([*expected.tolist(), 1.0], abs=1e-6)
    assert of_batch(weights, buffer, rows.tolist()) == [1.0] * 60  # before the first fit
    weights.refit_if_due(buffer, known, 1.0)
    assert of_batch(weights, buffer, rows.tolist()) == pytest.approx(expected.tolist(), abs=1e-6)
    # They hold for the epoch, also when it is resumed.
    resumed = make_weights(tmp_path, weighting="posterior")
    resumed.load_state_dict(weights.state_dict())
    buffer.update(rows, torch.full((60,), 30.0))
    for each in (weights, resumed):
        each.refit_if_due(buffer, known, 1.9)
        assert of_batch(each, buffer, rows.tolist(), 1.9) == pytest.approx(expected.tolist(), abs=1e-6)
    resumed.refit_if_due(buffer, known, 2.0)
    assert of_batch(resumed, buffer, rows.tolist(), 2.0) != of_batch(weights, buffer, rows.tolist(), 2.0)


@pytest.mark.parametrize("again", [0, 3])
@pytest.mark.parametrize("weighting", ["mixture", "posterior"])
def test_labels_that_are_not_learned_yet_are_waited_for(tmp_path: Path, weighting: str, again: int) -> None:
    buffer, known = two_humps()
    labels, averages, rows = known.labels[:60], buffer.average()[:60], torch.arange(60)
    statistics = RowStatistics(61, LABELS)
    confidence = torch.sigmoid(averages)
    observation = Observation(rows, labels, averages, confidence, 1 - labels, 1 - confidence)
    statistics.record(observation)
    for _ in range(again):  # a sampler has shown the rows of label 1 more often
        statistics.record(Observation(*(column[labels == 1] for column in observation)))
    # Of late, label 1 is predicted for five rows only.
    lately = observation._replace(margins=torch.where((labels == 1) & (rows > 10), -1.0, 1.0))
    at_once, waiting = (make_weights(tmp_path, weighting=weighting, wait_for_labels=wait) for wait in (False, True))
    for weights in (at_once, waiting):
        weights.observe(lately, 0.0)
        weights.refit_if_due(buffer, statistics, 1.0)
    before, after = (torch.tensor(of_batch(each, buffer, rows.tolist())) for each in (at_once, waiting))
    predicted = torch.tensor([55.0, 5.0])
    shares = learned_shares(predicted, before, labels, 1 + again * labels)
    assert shares[0] == 1
    assert 0 < shares[1] < 0.9
    assert after.tolist() == pytest.approx((1 - shares[labels] * (1 - before)).tolist(), abs=1e-6)
    assert waiting.of_all(buffer, statistics).tolist() == pytest.approx([*after.tolist(), 1.0], abs=1e-6)
    # And so it is after a restart.
    resumed = make_weights(tmp_path, weighting=weighting, wait_for_labels=True)
    resumed.load_state_dict(waiting.state_dict())
    assert of_batch(resumed, buffer, rows.tolist()) == after.tolist()
    assert resumed.of_all(buffer, statistics).tolist() == waiting.of_all(buffer, statistics).tolist()


def test_mixture_is_fitted_once_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []

    def counting_fit(values: Tensor, groups: Tensor, num_groups: int) -> Mixture:
        fitted.append(len(values))
        return fit_mixture(values, groups, num_groups)

    monkeypatch.setattr(row_weights, "fit_mixture", counting_fit)
    weights = make_weights(tmp_path, weighting_warmup=0.5)
    buffer, known = two_humps()
    calls = []
    for epoch in (0.0, 0.4, 0.5, 0.9, 1.0, 1.5, 1.9, 2.0, 2.1, 4.5):
        weights.refit_if_due(buffer, known, epoch)
        calls.append(len(fitted))
    assert calls == [0, 0, 1, 1, 2, 2, 2, 3, 3, 4]
    assert set(fitted) == {60}  # the row never seen is left out
    # Within an epoch the averages move and the mixture does not.
    before = of_batch(weights, buffer, [0], epoch=4.5)
    buffer.update(torch.arange(1, 60), torch.full((59,), -30.0))
    weights.refit_if_due(buffer, known, 4.9)
    assert of_batch(weights, buffer, [0], epoch=4.9) == before
    weights.refit_if_due(buffer, known, 5.0)
    assert of_batch(weights, buffer, [0], epoch=5.0) != before


def test_gaussian_weights_fit_no_mixture(tmp_path: Path) -> None:
    weights = make_weights(tmp_path, weighting="gaussian")
    weights.refit_if_due(*two_humps(), 3.0)
    assert int(weights.state_dict()["epoch"]) == -1


def test_before_any_row_was_seen_all_weigh_one(tmp_path: Path) -> None:
    weights, buffer = make_weights(tmp_path, weighting_warmup=0.0), AlmBuffer(4)
    buffer.update(torch.tensor([0, 1]), torch.tensor([torch.nan, torch.inf]))
    weights.refit_if_due(buffer, Known(torch.full((4,), -1)), 0.0)
    assert of_batch(weights, buffer, [0, 1], epoch=0.0) == [1.0, 1.0]
    assert weights.of_all(buffer, Known(torch.full((4,), -1))).tolist() == [1.0] * 4
    # The first rows that are seen make up for it, in the same epoch.
    humps, known = two_humps()
    weights.refit_if_due(humps, known, 0.1)
    assert min(of_batch(weights, humps, list(range(60)), epoch=0.1)) < 0.5


def test_a_restored_state_gives_the_same_weights_until_the_next_epoch(tmp_path: Path) -> None:
    weights, resumed = make_weights(tmp_path), make_weights(tmp_path)
    buffer, known = two_humps()
    weights.refit_if_due(buffer, known, 1.2)
    resumed.load_state_dict(weights.state_dict())
    buffer.update(torch.arange(60), torch.linspace(-9.0, 9.0, 60))
    for each in (weights, resumed):
        each.refit_if_due(buffer, known, 1.6)
    rows = list(range(60))
    assert of_batch(resumed, buffer, rows, epoch=1.6) == of_batch(weights, buffer, rows, epoch=1.6)
    for each in (weights, resumed):
        each.refit_if_due(buffer, known, 2.0)
    assert of_batch(resumed, buffer, rows, epoch=2.0) == of_batch(weights, buffer, rows, epoch=2.0)
    for name, tensor in weights.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name])


def test_a_state_from_before_the_first_fit(tmp_path: Path) -> None:
    resumed, fresh = make_weights(tmp_path), make_weights(tmp_path)
    buffer, known = two_humps()
    resumed.refit_if_due(buffer, known, 1.0)
    resumed.load_state_dict(fresh.state_dict())
    assert of_batch(resumed, buffer, [0, 1], epoch=1.0) == [1.0, 1.0]
    resumed.refit_if_due(buffer, known, 1.0)
    assert min(of_batch(resumed, buffer, [0, 1], epoch=1.0)) < 0.5


def test_the_state_is_a_copy(tmp_path: Path) -> None:
    weights, other = make_weights(tmp_path), make_weights(tmp_path)
    buffer, known = two_humps()
    weights.refit_if_due(buffer, known, 1.0)
    before = of_batch(weights, buffer, [0, 1, 2, 3])
    state = weights.state_dict()
    other.load_state_dict(state)
    for tensor in state.values():
        tensor.fill_(1)
    assert of_batch(weights, buffer, [0, 1, 2, 3]) == before
    assert of_batch(other, buffer, [0, 1, 2, 3]) == before


def test_the_state_of_another_number_of_labels_is_refused(tmp_path: Path) -> None:
    config = LaneConfig(output_dir=str(tmp_path), report_to=[], use_cpu=True, weighting="mixture")
    with pytest.raises(ValueError, match="RowWeights belongs to another"):
        RowWeights(config, 3, 9).load_state_dict(RowWeights(config, 2, 9).state_dict())
    by_row = LaneConfig(output_dir=str(tmp_path), report_to=[], use_cpu=True, weighting="posterior")
    with pytest.raises(ValueError, match="RowWeights belongs to another"):
        RowWeights(by_row, 2, 8).load_state_dict(RowWeights(by_row, 2, 9).state_dict())
