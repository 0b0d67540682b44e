"""Labels from a causal language model: tokens, probabilities, and prompts that are too long."""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from language_models import CHAT, NAMES, UNEVEN_CHAT, make_model, make_task, make_tokenizer, rig

from lane_hf.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from llm.cache import AnswerCache
from llm.local import LocalLabeller
from llm.prompts import make_prompt
from llm.scoring import Scorer
from llm.tokens import Questions


def make_labeller(model: Any, tokenizer: Any, tmp_path: Path, **settings: Any) -> LocalLabeller:
    return LocalLabeller(model, tokenizer, AnswerCache(tmp_path / f"{time.monotonic_ns()}.jsonl"), **settings)


def slow_scores(model: Any, tokenizer: Any, prompt: str, names: list[str]) -> list[list[float]]:
    """Log-probabilities of each label's tokens, one forward pass a token, in float64."""
    if tokenizer.chat_template == CHAT:
        whole = f"<s>[INST] {prompt} [/INST]"
        full = [(f"{whole} {name}", f"{whole} {name} </s>") for name in names]
    elif tokenizer.chat_template == UNEVEN_CHAT:
        whole = f"<s>[INST] {prompt} [/INST]<now>"
        full = [(f"{whole}{name}", f"{whole}{name}</s>") for name in names]
    else:
        whole = prompt
        full = [(f"{whole} {name}", f"{whole} {name}\n\nText:") for name in names]
    first = [] if tokenizer.chat_template else [tokenizer.bos_token_id]
    begin = first + tokenizer.encode(whole, add_special_tokens=False)
    tokens = [first + tokenizer.encode(text, add_special_tokens=False) for _, text in full]
    length, start = len(tokenizer.decode(begin)), 0
    while start < len(begin) and all(start < len(own) and own[start] == begin[start] for own in tokens):
        start += 1
    found = []
    for (stem, _), own in zip(full, tokens, strict=True):
        end = start + 1
        while len(tokenizer.decode(own[:end])) <= length + len(stem) - len(
            whole
        ):  # until one reaches beyond the label
            end += 1
        scores = []
        for place in range(start, end):
            logits = model(torch.tensor([own[:place]])).logits[0, -1].double()
            scores.append(float(logits[own[place]] - torch.logsumexp(logits, 0)))
        found.append(scores)
    return found


@pytest.mark.parametrize("kind", ["llama", "mistral", "gpt2"])
@pytest.mark.parametrize(
    ("tokens", "template"),
    [("bytes", None), ("phrases", None), ("pieces", None), ("bytes", CHAT), ("pieces", CHAT), ("bytes", UNEVEN_CHAT)],
)
@torch.no_grad()
def test_scores_are_those_of_a_slow_reference(tmp_path: Path, kind: str, tokens: str, template: str | None) -> None:
    model, tokenizer = make_model(kind).double().eval(), make_tokenizer(tokens, template)
    cache = AnswerCache(tmp_path / "cache.jsonl")
    task = make_task()
    labelled = LocalLabeller(model, tokenizer, cache, batch_size=3).label(task)
    means = LocalLabeller(model, tokenizer, cache, normalise="mean").label(task)
    assert (labelled.requests, labelled.cached, means.requests, means.cached) == (5, 0, 0, 5)
    assert labelled.shown == [6] * 5
    kept = [json.loads(line)["scores"] for line in cache.path.read_text().splitlines()]
    for row, text in enumerate(task.texts):
        slow = slow_scores(model, tokenizer, make_prompt(NAMES, task.examples, text), NAMES)
        np.testing.assert_allclose(kept[row], [sum(scores) for scores in slow], rtol=1e-9)
        assert labelled.predictions[row] == int(np.argmax([sum(scores) for scores in slow]))
        assert means.predictions[row] == int(np.argmax([np.mean(scores) for scores in slow]))


def test_tokens_that_span_the_beginning_of_a_label_are_scored_with_it() -> None:
    tokenizer = make_tokenizer("phrases")
    prompt = make_prompt(NAMES, make_task().examples, "a text")
    choices = Questions(tokenizer).choices(prompt, NAMES)
    whole = f"<s>{prompt}"
    assert len(tokenizer.decode(choices.context)) < len(whole)  # else this tokenizer shows nothing
    for name, scored in zip(NAMES, choices.labels, strict=True):
        text = tokenizer.decode(choices.context + scored)
        assert text.startswith(f"{whole} {name}\n")
        assert f"{whole} {name}\n\nText:".startswith(text)


def test_models_whose_cache_forgets_encode_everything_anew() -> None:
    assert Scorer(make_model("llama")).shares_prompts
    assert not Scorer(make_model("mistral")).shares_prompts


@torch.no_grad()
def test_what_prompts_have_in_common_is_encoded_once(tmp_path: Path) -> None:
    model, tokenizer = make_model(), make_tokenizer()
    seen = []
    forward = model.forward
    model.forward = lambda input_ids, **rest: seen.append(input_ids.numel()) or forward(input_ids=input_ids, **rest)
    task = make_task(examples=12)
    make_labeller(model, tokenizer, tmp_path).label(task)
    whole = Questions(tokenizer).length(make_prompt(NAMES, task.examples, task.texts[0]), NAMES)
    assert whole < sum(seen) < 2 * whole  # of five prompts


@pytest.mark.parametrize("preferred", range(4))
@pytest.mark.parametrize("normalise", ["sum", "mean"])
def test_the_label_that_a_model_prefers_is_chosen(tmp_path: Path, preferred: int, normalise: str) -> None:
    names = ["anger", "fear", "joy", "sad"]
    tokenizer = make_tokenizer()
    task = make_task(names=names)
    tokens = Questions(tokenizer).choices(make_prompt(names, task.examples, task.texts[0]), names).labels
    first = [label[0] for label in tokens]
    assert len(set(first)) == len(names)

    def change(_: torch.Tensor, logits: torch.Tensor) -> None:
        logits[..., first[preferred]] += 100

    labeller = make_labeller(rig(make_model(), change), tokenizer, tmp_path, normalise=normalise)
    assert labeller.label(task).predictions == [preferred] * 5


@pytest.mark.parametrize("preferred", [0, 1])
def test_a_label_that_begins_another_is_chosen_only_if_it_ends_there(tmp_path: Path, preferred: int) -> None:
    names = ["1", "10"]
    tokenizer = make_tokenizer()
    one, zero = (tokenizer.encode(text, add_special_tokens=False)[-1] for text in ("1", "0"))
    line_end = tokenizer.encode(" 1\n\nText:", add_special_tokens=False)[2]

    def change(inputs: torch.Tensor, logits: torch.Tensor) -> None:
        logits[..., [zero, line_end]] += 50.0 * (inputs == one)[..., None]
        logits[..., (line_end, zero)[preferred]] += 20.0 * (inputs == one)

    labeller = make_labeller(rig(make_model(), change), tokenizer, tmp_path)
    assert labeller.label(make_task(names=names)).predictions == [preferred] * 5


def test_labels_that_are_the_same_tokens_are_refused() -> None:
    with pytest.raises(InputError, match="'joy' and 'joy' are the same tokens"):
        Questions(make_tokenizer()).choices("Label:", ["joy", "joy"])


def test_a_tokenizer_that_does_not_say_where_tokens_end_is_refused() -> None:
    tokenizer = make_tokenizer()

    class Slow:
        is_fast = False

        def __getattr__(self, name: str) -> Any:
            return getattr(tokenizer, name)

    with pytest.raises(InputError, match="a fast tokenizer is needed"):
        Questions(Slow())


def test_a_chat_template_that_fails_is_one_line() -> None:
    with pytest.raises(InputError, match="chat template fails"):
        Questions(make_tokenizer(template="{{ raise_exception('no') }}")).choices("Label:", NAMES)


def test_a_model_of_nan_is_refused(tmp_path: Path) -> None:
    model = rig(make_model(), lambda _, logits: logits.fill_(math.nan))
    with pytest.raises(InputError, match="NaN"):
        make_labeller(model, make_tokenizer(), tmp_path).label(make_task())


@torch.no_grad()
@pytest.mark.parametrize("is_models_own", [True, False])
def test_examples_that_do_not_fit_are_left_out_from_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_models_own: bool
) -> None:
    tokenizer, task = make_tokenizer(), make_task(examples=8)
    task.texts[2] = " ".join(["alarm"] * 20)
    task.examples[1] = task.examples[1]._replace(text=" ".join(["rage"] * 30))
    questions = Questions(tokenizer)
    prompts = [[make_prompt(NAMES, task.examples[:n], text) for n in range(9)] for text in task.texts]
    lengths = [[questions.length(prompt, NAMES) for prompt in own] for own in prompts]
    limit = sorted(own[8] for own in lengths)[1]  # for two of the five rows all of them fit
    seen = []
    model = make_model("mistral", longest=limit if is_models_own else 2048)  # sees every prompt whole
    rig(model, lambda inputs, _: seen.append(inputs))
    given = {} if is_models_own else {"max_prompt_tokens": limit}
    labelled = make_labeller(model, tokenizer, tmp_path, batch_size=4, **given).label(task)
    expected = [max(n for n in range(9) if own[n] <= limit) for own in lengths]
    assert labelled.shown == expected
    assert min(expected) == expected[2] < 8
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1
    assert f"of 5 test rows 3 have room for fewer than 8 examples in {limit} tokens" in warnings[0]
    assert f"the least {min(expected)}, on average {sum(expected) / 5:.1f}" in warnings[0]
    for inputs, own, number in zip(seen, prompts, expected, strict=True):
        assert inputs.shape[1] <= limit
        assert tokenizer.decode(inputs[0]).startswith(f"<s>{own[number]}")


def test_a_text_that_is_too_long_by_itself_is_refused(tmp_path: Path) -> None:
    task = make_task()
    task.texts[3] = "alarm " * 200
    with pytest.raises(InputError, match=r"'alarm alarm.*is too long for 128 tokens even without examples"):
        make_labeller(make_model(longest=128), make_tokenizer(), tmp_path).label(task)


def test_scores_of_other_weights_are_not_taken_from_the_cache(tmp_path: Path) -> None:
    cache, tokenizer = AnswerCache(tmp_path / "cache.jsonl"), make_tokenizer()
    model = make_model()
    assert LocalLabeller(model, tokenizer, cache).label(make_task()).requests == 5
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1
    assert LocalLabeller(model, tokenizer, cache).label(make_task()).requests == 5
