"""Back-translation with tiny random models: order, batches, chains, draws, wrong settings."""

import logging
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from backtranslating import DIRECTIONS, Make, make_texts
from tiny_marian import MAX_TOKENS, make_marian
from transformers import MarianMTModel, MarianTokenizer

from lane_hf.augmentation.marian import Generation, Translator, find_model
from lane_hf.errors import InputError


def by_hand(folder: Path, text: str) -> str:
    """One greedy translation, with Transformers alone."""
    tokenizer, model = MarianTokenizer.from_pretrained(folder), MarianMTModel.from_pretrained(folder)
    inputs = tokenizer([text], return_tensors="pt", truncation=True, max_length=MAX_TOKENS)
    tokens = model.generate(**inputs, num_beams=1, max_length=MAX_TOKENS)
    return tokenizer.batch_decode(tokens, skip_special_tokens=True)[0]


# ---- Translations ----


def test_texts_are_translated_there_and_back_in_their_order(make: Make, template: str) -> None:
    texts = make_texts(6)
    there, back = (Path(template.format(source=source, target=target)) for source, target in DIRECTIONS[:2])
    result = make()(texts)
    assert result == [by_hand(back, by_hand(there, text)) for text in texts]
    assert len(set(result)) > 3  # else the test sees no mistake in the order


@pytest.mark.parametrize(
    "settings", [{}, {"num_beams": 3}, {"do_sample": True}, {"do_sample": True, "temperature": 0.5}]
)
def test_the_batch_size_changes_nothing(make: Make, settings: dict[str, Any]) -> None:
    texts = make_texts(7, seed=1)
    alone = make(batch_size=1, **settings)(texts)
    assert make(batch_size=3, **settings)(texts) == make(batch_size=64, **settings)(texts) == alone


def test_a_tokenizer_that_pads_on_the_left_changes_nothing(make: Make, tmp_path: Path) -> None:
    folders = {
        direction: make_marian(tmp_path / "-".join(direction), padding_side="left") for direction in DIRECTIONS[:2]
    }
    texts = make_texts(5)
    assert MarianTokenizer.from_pretrained(folders["en", "de"]).padding_side == "left"
    assert make(models=folders, batch_size=9)(texts) == make(models=folders, batch_size=1)(texts)


def test_a_chain_goes_through_every_pivot(make: Make, template: str) -> None:
    way = [
        Path(template.format(source=source, target=target)) for source, target in [*DIRECTIONS[:1], *DIRECTIONS[2:]]
    ]
    backtranslation = make(("de", "fr"))
    assert backtranslation.directions == [("en", "de"), ("de", "fr"), ("fr", "en")]
    texts = make_texts(3)
    expected = texts
    for folder in way:
        expected = [by_hand(folder, text) for text in expected]
    assert backtranslation(texts) == expected


def test_one_pivot_may_be_given_as_a_string(make: Make) -> None:
    assert make("de").directions == make(("de",)).directions == [("en", "de"), ("de", "en")]


def test_blank_texts_pass_through_and_duplicates_are_translated_once(make: Make, batches: list[int]) -> None:
    texts = ["", "we love soup", " \t\n", "the goal", "we love soup", "\u00a0", "we love soup"]
    result = make()(texts)
    assert [result[index] for index in (0, 2, 5)] == ["", " \t\n", "\u00a0"]
    assert result[1] == result[4] == result[6] != "we love soup"
    assert batches == [2, 2]


def test_only_blank_texts_load_no_model(make: Make) -> None:
    nowhere = make(model_template="no/such-{source}-{target}")
    assert nowhere(["", "  "]) == ["", "  "]
    assert nowhere([]) == []


def test_a_long_text_is_cut_to_what_the_model_takes(make: Make) -> None:
    beginning = "goal " * (2 * MAX_TOKENS)
    result = make()([beginning + "joy", beginning + "soup", "joy"])
    assert result[0] == result[1] != result[2]


def test_max_length_limits_texts_and_translations(template: str) -> None:
    found = find_model(template.format(source="en", target="de"), "de")
    with Translator(found, Generation(max_length=6), "cpu") as translator:
        short, one, other = translator.translate(
            ["we", "goal goal goal goal joy", "goal goal goal goal bread"], [0, 0, 0]
        )
        assert one == other != short
    with Translator(found, Generation(), "cpu") as translator:
        long = translator.translate(["we"], [0])[0]
        assert long.startswith(short)
        assert len(long) > len(short)


def test_a_text_that_is_translated_to_nothing_stays(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        Translator, "translate", lambda self, texts, seeds: ["" if "soup" in text else text for text in texts]
    )
    with caplog.at_level(logging.WARNING):
        assert make()(["we love soup", "the goal"]) == ["we love soup", "the goal"]
    assert "1 of 2 texts" in caplog.text


def test_models_are_loaded_one_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def has_weights(reference: "weakref.ref[Any]") -> bool:
        model = reference()
        return model is not None and any(weight.device.type != "meta" for weight in model.state_dict().values())

    generate = MarianMTModel.generate

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        if all(reference() is not self for reference in loaded):
            loaded.append(weakref.ref(self))
        alive.append(sum(map(has_weights, loaded)))
        return generate(self, *args, **kwargs)

    monkeypatch.setattr(MarianMTModel, "generate", watched)
    make(("de", "fr"))(make_texts(5))
    assert len(loaded) == 3
    assert set(alive) == {1}
    assert not any(map(has_weights, loaded))


def test_bfloat16_is_used(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    types = []
    generate = MarianMTModel.generate

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        types.append(self.dtype)
        return generate(self, *args, **kwargs)

    monkeypatch.setattr(MarianMTModel, "generate", watched)
    assert make(dtype=torch.bfloat16)(["we love soup"]) == make(dtype="bfloat16")(["we love soup"])
    assert set(types) == {torch.bfloat16}


# ---- Draws ----


def test_draws_follow_the_seed_alone(make: Make) -> None:
    texts = make_texts(6)
    first = make(do_sample=True, seed=1)(texts)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert make(do_sample=True, seed=1)(texts[::-1])[::-1] == first  # neither order nor the global state counts
    assert torch.equal(torch.get_rng_state(), state)
    assert make(do_sample=True, seed=2)(texts) != first != make()(texts)


def test_draws_have_the_probabilities_of_the_model(template: str) -> None:
    found = find_model(template.format(source="en", target="de"), "de")
    number, temperature = 4000, 0.7
    with Translator(found, Generation(do_sample=True, temperature=temperature, max_length=3), "cpu") as translator:
        model = translator._model
        inputs = translator._tokenizer(["we love soup"], return_tensors="pt", truncation=True, max_length=3)
        start = torch.tensor([[model.config.decoder_start_token_id]])
        with torch.inference_mode():
            logits = model(**inputs, decoder_input_ids=start).logits[0, -1]
            logits[model.config.pad_token_id] = -torch.inf  # a forbidden word
        expected = (logits / temperature).softmax(0)
        decode = translator._tokenizer.batch_decode
        drawn = translator.translate(["we love soup"] * number, range(number))
        for token in expected.topk(3).indices:
            share = drawn.count(decode([[token]], skip_special_tokens=True)[0]) / number
            assert share == pytest.approx(expected[token].item(), abs=0.03)  # about 4 standard deviations


def test_greedy_ignores_the_seed(make: Make, tmp_path: Path, batches: list[int]) -> None:
    make(cache_dir=tmp_path, seed=1)(["we love soup"])
    make(cache_dir=tmp_path, seed=2, temperature=0.5)(["we love soup"])
    assert batches == [1, 1]


# ---- Settings and texts ----


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pivots": ()}, "pivots is empty"),
        ({"pivots": ("en",)}, "goes from 'en' to itself"),
        ({"pivots": ("de", "de")}, "goes from 'de' to itself"),
        ({"pivots": ("",)}, "must be names of languages"),
        ({"model_template": "opus-mt"}, "the same for all"),
        ({"model_template": "opus-{src}"}, "cannot be filled in"),
        ({"model_template": "opus-{"}, "cannot be filled in"),
        ({"model_template": "{source.name}-{target}"}, "cannot be filled in"),
        ({"model_template": "{source[name]}-{target}"}, "cannot be filled in"),
        ({"models": {("en", "fr"): "x"}}, "not on the way"),
        ({"batch_size": 0}, "batch_size"),
        ({"num_beams": 0}, "num_beams"),
        ({"max_length": 1}, "max_length"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"do_sample": True, "num_beams": 2}, "do_sample"),
        ({"dtype": "int8"}, "dtype"),
    ],
)
def test_settings_that_make_no_sense(make: Make, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(**settings)


@pytest.mark.parametrize(
    ("texts", "message"),
    [("we love soup", "single one"), (["a", None], "row 1: .*NoneType"), (["a", "b \ud800"], "row 1: .*Unicode")],
)
def test_texts_that_are_none(make: Make, texts: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()(texts)


def test_no_text_is_printed_or_logged(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        result = make(cache_dir=tmp_path, progress_bar=True)(["rocket concert secret", "cheese " * 100])
    captured = capfd.readouterr()
    assert "en->de" in captured.err
    for word in ("concert", "cheese", result[0]):
        assert word not in caplog.text + captured.out + captured.err


def test_importing_it_imports_no_torch() -> None:
    heavy = "{'torch', 'transformers'} & set(sys.modules)"
    code = f"import sys, lane_hf.augmentation.backtranslation; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
