"""torch.compile: the same numbers, plain names in checkpoints, no break inside the networks."""

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import VOCABULARY, make_model, make_tokenizer
from torch import Tensor, nn
from torch._dynamo.utils import counters
from training import assert_same_weights, logged, make_trainer
from transformers import DataCollatorWithPadding
from variants import assert_same_state, train_and_check

from lane_hf.networks import JointModel, make_auxiliary

COMPILED = {"torch_compile": True, "torch_compile_backend": "eager"}  # traces, and leaves out generating code
SMALL = {"num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 16}


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def trainer_of(folder: Path, auxiliary: str, **changes: Any) -> Any:
    options = {
        "num_train_epochs": 1,
        "weighting_warmup": 0.5,
        "save_strategy": "steps",
        "save_steps": 4,
    }
    # Batches of one length: each new length would be traced again.
    collator = DataCollatorWithPadding(make_tokenizer(), padding="max_length", max_length=16)
    changes.setdefault("model", make_model("bert", dropout=0.0, **SMALL))
    return make_trainer(folder, data_collator=collator, auxiliary=auxiliary, **{**options, **changes})


@pytest.mark.parametrize("auxiliary", ["full", "shared"])
def test_a_compiled_run_is_the_plain_run_and_can_be_resumed(tmp_path: Path, auxiliary: str) -> None:
    compiled = trainer_of(tmp_path / "compiled", auxiliary, **COMPILED)
    train_and_check(compiled, tmp_path / "final")
    joint = compiled.model_wrapped
    assert type(joint).__name__ == "OptimizedModule"
    assert isinstance(joint._orig_mod, JointModel)
    assert counters["stats"]["unique_graphs"] > 0, "something was compiled"
    if auxiliary == "full":
        assert not counters["graph_break"]

    plain = trainer_of(tmp_path / "plain", auxiliary)
    plain.train()
    assert logged(compiled, "loss") == pytest.approx(logged(plain, "loss"), rel=1e-5)
    assert_same_weights(compiled.model, plain.model, rtol=1e-4, atol=1e-6)
    assert_same_weights(compiled.auxiliary_model, plain.auxiliary_model, rtol=1e-4, atol=1e-6)

    resumed = trainer_of(tmp_path / "resumed", auxiliary, **COMPILED)
    resumed.train(resume_from_checkpoint=str(tmp_path / "compiled" / "checkpoint-4"))
    assert_same_state(compiled, resumed)


def test_what_is_compiled_already_trains_on(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "shared", max_steps=2, save_strategy="no", **COMPILED)
    classifier = trainer.model
    trainer.evaluate(trainer.train_dataset)  # compiles the classifier alone
    wrapped = []
    for _ in range(2):
        assert trainer.train().global_step == 2
        assert trainer.model is classifier
        assert isinstance(trainer.model_wrapped._orig_mod, JointModel)
        wrapped.append(trainer.model_wrapped)
    assert wrapped[0] is wrapped[1], "nothing is compiled again"
    assert set(trainer.label_issues()["visits"]) == {0, 1}, "only the second run counts"


@pytest.mark.parametrize(("auxiliary", "needs_embeddings"), [("full", False), ("shared", True)])
@torch.no_grad()
def test_both_networks_are_one_graph(auxiliary: str, needs_embeddings: bool) -> None:
    model = make_model("bert", **SMALL).eval()
    joint = JointModel(model, make_auxiliary(model, auxiliary, 4, seed=1), needs_embeddings).eval()
    inputs = dict(make_tokenizer()(["happy the joy", "sad"], padding=True, return_tensors="pt"))
    # Transformers installs what collects hidden states in the first call that wants them, which breaks the graph once.
    expected = joint(**inputs)
    outputs = torch.compile(joint, backend="eager", fullgraph=True)(**inputs)
    assert outputs.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(outputs[name], expected[name])


class BagOfWords(nn.Module):
    """The smallest classifier: generating code for a Transformer takes a minute."""

    def __init__(self) -> None:
        super().__init__()
        self.num_labels = 4
        self.words = nn.Embedding(len(VOCABULARY), 8)
        self.head = nn.Linear(8, 4)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        words = self.words(input_ids) * attention_mask[..., None]
        return {"logits": self.head(words.sum(dim=1) / attention_mask.sum(dim=1, keepdim=True))}


@pytest.mark.skipif(shutil.which("g++") is None, reason="the default backend compiles C++ and there is no g++")
def test_the_default_backend_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    torch.manual_seed(0)
    model = BagOfWords()
    options = {"max_steps": 8, "save_strategy": "no", "learning_rate": 1e-2}
    plain = trainer_of(tmp_path / "plain", "full", model=copy.deepcopy(model), **options)
    plain.train()
    compiled = trainer_of(tmp_path / "compiled", "full", model=model, torch_compile=True, **options)
    compiled.train()
    assert compiled.args.torch_compile_backend == "inductor"
    assert counters["inductor"]
    assert logged(compiled, "loss") == pytest.approx(logged(plain, "loss"), rel=1e-5)
    assert_same_weights(compiled.model, plain.model, rtol=1e-4, atol=1e-6)
    assert_same_weights(compiled.auxiliary_model, plain.auxiliary_model, rtol=1e-4, atol=1e-6)
