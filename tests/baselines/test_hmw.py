"""HMW: distances, slices and weights against plain float64 loops, and a whole run replayed by hand."""

import math
from collections import defaultdict

import peft
import pytest
import torch
from hmw_references import normals, slow_distance, slow_slice, slow_weight
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import FAMILIES, IMAGE_SHAPE, make_model, make_tokenizer
from torch import nn

from lane_hf import InputError
from lane_hf.baselines.hmw import (
    AnnealedWeights,
    HypersphereModel,
    annealing_factor,
    hyperspherical_distances,
    margin_slice,
    unit_rows,
)
from lane_hf.heads import logit_layers

# ---- Distances ----


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(2, 6), st.sampled_from([1e-6, 1.0, 1e4, 1e15]))
def test_distances_agree_with_loops(seed: int, rows: int, num_labels: int, scale: float) -> None:
    features, directions = scale * normals(rows, 5, seed=seed), normals(num_labels, 5, seed=seed + 1)
    got = hyperspherical_distances(features, directions)
    want = [[slow_distance(feature, each) for each in directions.tolist()] for feature in features.tolist()]
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, torch.tensor(want), rtol=0, atol=1e-6)
    assert got.min() >= 0
    assert got.max() <= 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_distances_of_other_types_are_those_of_float32(dtype: torch.dtype) -> None:
    features, directions = normals(5, 64, seed=1).to(dtype), normals(4, 64, seed=2).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = hyperspherical_distances(features, directions)
    assert got.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(got.float(), hyperspherical_distances(features.float(), directions.float()))


def test_a_feature_of_zeros_is_halfway_to_every_label_and_the_rest_is_exact() -> None:
    features = torch.tensor([[0.0, 0.0], [3.0, 0.0], [-2.0, 0.0]])
    assert hyperspherical_distances(features, torch.tensor([[5.0, 0.0]])).tolist() == [[0.5], [0.0], [1.0]]


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e4, 1e25])
def test_unit_rows_have_length_one_or_are_zeros_and_gradients_are_finite(scale: float) -> None:
    values = torch.cat([normals(3, 4, seed=3) * scale, torch.zeros(1, 4)]).requires_grad_()
    units = unit_rows(values)
    units.square().sum().backward()
    assert all(min(abs(length), abs(length - 1)) < 1e-5 for length in units.norm(dim=1).tolist())
    assert units[3].eq(0).all()
    assert values.grad.isfinite().all()


def test_logits_of_length_one_bound_the_probability() -> None:
    best = torch.full((1, 30), -1.0).index_fill_(1, torch.tensor([0]), 29.0)  # the farthest from all others
    logits = unit_rows(torch.cat([best, 100 * normals(500, 30, seed=12)]))
    highest = logits.softmax(dim=1).amax(dim=1)
    assert highest.max() == highest[0]
    assert highest[0].item() == pytest.approx(0.087, abs=1e-3)


# ---- Slices ----


@given(
    st.integers(0, 10**6),
    st.integers(2, 9),
    st.sampled_from([0.5, 10.0, 100.0]),
    st.sampled_from([0.5, 10.0, 100.0]),
    st.sampled_from([0.0, 0.01, 0.4, 1.0]),
)
def test_slices_agree_with_loops(seed: int, num_labels: int, a: float, b: float, rho: float) -> None:
    distances = torch.rand(6, num_labels, generator=torch.Generator().manual_seed(seed))
    distances[0] = distances[0, 0]  # all equally far
    labels = torch.randint(0, num_labels, (6,), generator=torch.Generator().manual_seed(seed))
    got = margin_slice(distances, labels, a, b, rho)
    want = [slow_slice(row, label, a, b, rho) for row, label in zip(distances.tolist(), labels.tolist(), strict=True)]
    torch.testing.assert_close(got, torch.tensor(want), rtol=2e-4, atol=1e-6)
    assert got.min() >= 0
    assert got.max() <= 1


def test_the_defaults_are_the_published_values() -> None:
    distances, labels = (
        torch.rand(5, 4, generator=torch.Generator().manual_seed(0)) * 0.1,
        torch.tensor([0, 1, 2, 3, 0]),
    )
    assert torch.equal(margin_slice(distances, labels), margin_slice(distances, labels, 100.0, 100.0, 0.01))


def test_of_two_labels_the_first_term_is_the_slice() -> None:
    got = margin_slice(torch.tensor([[0.50, 0.52], [0.52, 0.50], [0.3, 0.3]]), torch.tensor([0, 0, 1]))
    torch.testing.assert_close(got, torch.sigmoid(torch.tensor([2.0, -2.0, 0.0])), rtol=1e-4, atol=1e-6)


def test_a_right_row_counts_more_than_a_hard_one_and_that_more_than_a_wrong_one() -> None:
    right, hard, wrong = [0.1, 0.5, 0.5, 0.5], [0.40, 0.399, 0.40, 0.5], [0.5, 0.1, 0.5, 0.5]
    slices = margin_slice(torch.tensor([right, hard, wrong]), torch.zeros(3, dtype=torch.int64)).tolist()
    assert slices[0] > slices[1] > slices[2]
    assert slices[0] == pytest.approx(1.0)
    assert slices[2] == pytest.approx(0.0, abs=1e-6)


def test_no_gradient_flows_through_distances_and_slices() -> None:
    features = normals(3, 4, seed=4).requires_grad_()
    distances = hyperspherical_distances(features, normals(3, 4, seed=5).requires_grad_())
    assert not distances.requires_grad
    assert not margin_slice(distances.clone().requires_grad_(), torch.tensor([0, 1, 2])).requires_grad


# ---- Annealed weights ----


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_weights_agree_with_loops(seed: int, epochs: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights, visits = AnnealedWeights(num_rows=7), defaultdict(list)
    for epoch in range(epochs):
        for _ in range(2):
            ids = torch.randint(-1, 7, (5,), generator=generator)
            slices = torch.rand(5, generator=generator)
            slices[0] = torch.nan
            weights.update(ids, slices, annealing_factor(epoch, epochs))
            taken = set()
            for row, value in zip(ids.tolist(), slices.tolist(), strict=True):
                if row >= 0 and row not in taken and not math.isnan(value):
                    visits[row].append((epoch, value))
                taken.add(row)
    want = [slow_weight(visits[row], epochs) if visits[row] else 1.0 for row in range(7)]
    torch.testing.assert_close(weights.weights(), torch.tensor(want), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(weights.weights(torch.tensor([3, -1, 0])), torch.tensor([want[3], 1.0, want[0]]))


def test_early_epochs_count_up_to_e_squared_times_as_much() -> None:
    assert annealing_factor(0, 5) / annealing_factor(5, 5) == pytest.approx(math.e**2)
    factors = [annealing_factor(epoch, 5) for epoch in range(5)]
    assert factors == sorted(factors, reverse=True)


def test_slices_of_one_give_a_weight_of_exactly_one() -> None:
    weights = AnnealedWeights(num_rows=1)
    for epoch in range(50):
        weights.update(torch.tensor([0]), torch.ones(1), annealing_factor(epoch, 50))
    assert weights.weights().tolist() == [1.0]


def test_state_comes_back_and_that_of_another_data_set_is_refused() -> None:
    weights, other = AnnealedWeights(num_rows=3), AnnealedWeights(num_rows=3)
    weights.update(torch.tensor([0, 2]), torch.tensor([0.3, 0.9]), 2.0)
    state = weights.state_dict()
    weights.update(torch.tensor([1]), torch.tensor([0.1]), 2.0)
    other.load_state_dict(state)
    torch.testing.assert_close(other.weights(), torch.tensor([0.3, 1.0, 0.9]))
    with pytest.raises(ValueError, match="another data set"):
        AnnealedWeights(num_rows=4).load_state_dict(state)
    with pytest.raises(ValueError, match="no state of AnnealedWeights"):
        weights.load_state_dict({"sum": state["rows"]})
    with pytest.raises(IndexError, match="out of range"):
        weights.update(torch.tensor([3]), torch.tensor([0.5]), 1.0)


# ---- What the last layer reads ----


def inputs_of(family: str) -> dict[str, torch.Tensor]:
    if family == "vit":
        return {"pixel_values": normals(3, *IMAGE_SHAPE, seed=6)}
    return dict(make_tokenizer()(["happy the joy", "sad", "a cry of tears"], padding=True, return_tensors="pt"))


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_distances_are_those_of_what_gives_the_logits(family: str) -> None:
    model = make_model(family).eval()
    (layer,) = logit_layers(model, 4)
    outputs = HypersphereModel(model, 4).eval()(**inputs_of(family))
    assert outputs["distances"].shape == (3, 4)
    # Without bias, and with directions of length one, logits are the length of the feature times the cosine.
    layer.weight.copy_(unit_rows(layer.weight))
    if layer.bias is not None:
        layer.bias.zero_()
    logits = model(**inputs_of(family)).logits
    ratios = logits / (1 - 2 * outputs["distances"])
    torch.testing.assert_close(ratios, ratios[:, :1].expand(3, 4), rtol=1e-2, atol=1e-3)
    assert ratios.min() > 0


@torch.no_grad()
def test_of_two_heads_the_one_that_runs_is_looked_at() -> None:
    base = make_model("roberta")
    model = peft.get_peft_model(base, peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"]))
    original, trained = logit_layers(model, 4)
    trained.weight.copy_(normals(4, 32, seed=7))
    joint = HypersphereModel(model.eval(), 4).eval()
    outputs = joint(**inputs_of("roberta"))
    seen: list[torch.Tensor] = []
    hook = trained.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    model(**inputs_of("roberta"))
    hook.remove()
    torch.testing.assert_close(outputs["distances"], hyperspherical_distances(seen[0], trained.weight))
    assert not torch.allclose(outputs["distances"], hyperspherical_distances(seen[0], original.weight), atol=1e-2)


def test_the_classifier_is_left_as_it_was_and_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("bert", dropout=0.0)
    joint = HypersphereModel(model, 4)
    outputs = joint(**inputs_of("bert"))
    assert outputs.keys() == {"logits", "distances"}
    assert torch.equal(joint(classifier_only=True, **inputs_of("bert")).logits, outputs["logits"])
    assert [name for name, _ in joint.named_parameters()] == [f"model.{name}" for name, _ in model.named_parameters()]
    monkeypatch.setattr(model.bert, "forward", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        joint(**inputs_of("bert"))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_head_that_cannot_be_found_is_refused() -> None:
    with pytest.raises(InputError, match="no linear layer with 4 outputs"):
        HypersphereModel(nn.Sequential(nn.Linear(3, 5)), 4)
