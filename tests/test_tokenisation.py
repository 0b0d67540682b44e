"""Token ids are those of the tokenizer, in any number of processes, and a second run finds them on disk."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given
from hypothesis import strategies as st
from tiny import make_model, make_text_dataset, make_tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lane_hf.run import main
from lane_hf.tokenisation import cache_key, tokenise

LIMIT = 8


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache" / "lane_hf"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many texts each call of a tokenizer got, in this process."""
    counts: list[int] = []
    encode = PreTrainedTokenizerBase.__call__

    def counting(self: Any, texts: Any, **kwargs: Any) -> Any:
        counts.append(len(texts))
        return encode(self, texts, **kwargs)

    monkeypatch.setattr(PreTrainedTokenizerBase, "__call__", counting)
    return counts


def rows(number: int = 30, seed: int = 0) -> DatasetDict:
    made = make_text_dataset(number, 3, seed=seed)
    flipped = made.add_column("is_flipped", [False] * number).add_column("original_label", made["label"])
    return DatasetDict({"train": flipped, "test": make_text_dataset(7, 3, seed=seed + 1)})


def one_by_one(texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    return [tokenizer.encode(text, truncation=True, max_length=LIMIT) for text in texts]


@pytest.mark.parametrize("processes", [None, 1, 2])
def test_ids_are_those_of_each_text_and_other_columns_stay(cache: Path, processes: int | None) -> None:
    data, tokenizer = rows(), make_tokenizer()
    tokenised = tokenise(data, tokenizer, LIMIT, num_proc=processes)
    for split, given_rows in data.items():
        assert tokenised[split]["input_ids"] == one_by_one(given_rows["text"], tokenizer)
        assert tokenised[split]["label"] == given_rows["label"]
        assert tokenised[split].features["label"] == given_rows.features["label"]
    # Views are made of the training texts. What says which labels are wrong must not reach the model.
    assert set(tokenised["train"].column_names) == {"text", "label", "input_ids", "attention_mask"}
    assert set(tokenised["test"].column_names) == {"label", "input_ids", "attention_mask"}


@pytest.mark.parametrize(("first", "second"), [(None, None), (2, None), (None, 2), (2, 2)])
def test_a_second_run_reads_what_the_first_one_kept(
    cache: Path, calls: list[int], first: int | None, second: int | None
) -> None:
    kept = tokenise(rows(), make_tokenizer(), LIMIT, num_proc=first)
    files = {file: file.stat().st_mtime_ns for file in cache.iterdir()}
    assert files
    calls.clear()
    again = tokenise(rows(), make_tokenizer(), LIMIT, num_proc=second)
    assert not calls
    assert {file: file.stat().st_mtime_ns for file in cache.iterdir()} == files
    for split in kept:
        assert again[split].to_dict() == kept[split].to_dict()


def test_rows_drawn_and_shuffled_have_their_own_ids(cache: Path) -> None:
    tokenizer, data = make_tokenizer(), rows()
    tokenise(data, tokenizer, LIMIT)
    drawn = DatasetDict({"train": data["train"].shuffle(seed=5).select(range(11))})
    assert tokenise(drawn, tokenizer, LIMIT)["train"]["input_ids"] == one_by_one(drawn["train"]["text"], tokenizer)


def test_other_labels_need_no_new_ids(cache: Path, calls: list[int]) -> None:
    data = rows()
    tokenise(data, make_tokenizer(), LIMIT)
    calls.clear()
    other = [(label + 1) % 3 for label in data["train"]["label"]]
    feature = data["train"].features["label"]
    data["train"] = data["train"].remove_columns("label").add_column("label", other, feature=feature)
    assert tokenise(data, make_tokenizer(), LIMIT)["train"]["label"] == other
    assert not calls


def test_other_texts_limits_and_tokenizers_do(cache: Path) -> None:
    texts, tokenizer = rows()["train"], make_tokenizer()
    key = cache_key(texts, tokenizer, LIMIT)
    assert key is not None
    assert key == cache_key(texts, make_tokenizer(), LIMIT)
    tokenizer(["a"], truncation=True, max_length=3, padding="max_length")  # leaves its settings behind
    assert key == cache_key(texts, tokenizer, LIMIT)
    added = make_tokenizer()
    added.add_tokens(["unheard"])
    cut_left = make_tokenizer()
    cut_left.truncation_side = "left"
    fewer_inputs = make_tokenizer()
    fewer_inputs.model_input_names = ["input_ids"]
    splits_special = make_tokenizer()
    splits_special.split_special_tokens = True
    others = [
        cache_key(texts, make_tokenizer(), LIMIT + 1),
        cache_key(texts.select(range(29)), make_tokenizer(), LIMIT),
        cache_key(texts.select(range(29, -1, -1)), make_tokenizer(), LIMIT),
        *(cache_key(texts, each, LIMIT) for each in (added, cut_left, fewer_inputs, splits_special)),
    ]
    assert len({key, *others}) == 1 + len(others)


@given(st.lists(st.text(), min_size=1, max_size=4), st.lists(st.text(), min_size=1, max_size=4))
def test_two_lists_of_texts_have_one_key_only_if_they_are_equal(one: list[str], other: list[str]) -> None:
    tokenizer = make_tokenizer()
    keys = [cache_key(Dataset.from_dict({"text": texts}), tokenizer, LIMIT) for texts in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


def test_overwriting_makes_them_again(cache: Path, calls: list[int]) -> None:
    tokenise(rows(), make_tokenizer(), LIMIT)
    calls.clear()
    tokenise(rows(), make_tokenizer(), LIMIT, overwrite_cache=True)
    assert sum(calls) == 37


@pytest.fixture
def no_caching() -> Iterator[None]:
    datasets.disable_caching()
    yield
    datasets.enable_caching()


@pytest.mark.usefixtures("no_caching")
def test_nothing_is_kept_where_caching_is_switched_off(cache: Path, calls: list[int]) -> None:
    tokenise(rows(), make_tokenizer(), LIMIT)
    assert not cache.exists()
    assert sum(calls) == 37


def test_a_tokenizer_with_code_of_its_own_is_always_asked(cache: Path) -> None:
    class Shouting(PreTrainedTokenizerFast):
        """What it does is in no file."""

    tokenizer = Shouting(tokenizer_object=make_tokenizer().backend_tokenizer, unk_token="[UNK]")
    tokenised = tokenise(rows(), tokenizer, LIMIT)
    assert tokenised["train"]["input_ids"] == one_by_one(rows()["train"]["text"], tokenizer)
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "short"])
def test_a_damaged_file_is_made_again(cache: Path, damage: str) -> None:
    data = rows(2000)
    whole = tokenise(data, make_tokenizer(), LIMIT)
    smallest, largest = sorted(cache.iterdir(), key=os.path.getsize)
    content = largest.read_bytes()
    bad = {"cut": content[: len(content) // 2], "empty": b"", "other": b"a" * 99, "short": smallest.read_bytes()}
    del whole  # it is mapped from the file
    largest.write_bytes(bad[damage])
    with pytest.warns(UserWarning, match=r"is damaged \(.*\): its rows are tokenised again"):
        tokenised = tokenise(data, make_tokenizer(), LIMIT)
    assert tokenised["train"]["input_ids"] == one_by_one(data["train"]["text"], make_tokenizer())
    assert largest.read_bytes() == content


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="token ids are not kept for the next run"):
        tokenised = tokenise(rows(), make_tokenizer(), LIMIT)
    assert tokenised["train"]["input_ids"] == one_by_one(rows()["train"]["text"], make_tokenizer())


def test_no_rows(cache: Path) -> None:
    data = DatasetDict({"train": rows()["train"], "test": rows()["test"].select([])})
    assert len(tokenise(data, make_tokenizer(), LIMIT)["test"]) == 0


def test_a_run_with_other_noise_tokenises_nothing(tmp_path: Path, cache: Path, calls: list[int]) -> None:
    model = tmp_path / "model"
    make_model("bert", 3).save_pretrained(model)
    make_tokenizer(model)
    made = make_text_dataset(24, 3)
    table = pd.DataFrame({"text": made["text"], "label": [f"label_{label}" for label in made["label"]]})
    table.to_csv(tmp_path / "train.csv", index=False)
    common = ["--model_name_or_path", str(model), "--train_file", str(tmp_path / "train.csv")]
    common += ["--max_steps", "1", "--save_strategy", "no"]
    assert main([*common, "--output_dir", str(tmp_path / "one")]) == 0
    assert sum(calls) == 24
    calls.clear()
    assert main([*common, "--output_dir", str(tmp_path / "two"), "--label_noise", "0.5", "--method", "gce"]) == 0
    assert not calls
    assert main([*common, "--output_dir", str(tmp_path / "three"), "--overwrite_cache"]) == 0
    assert sum(calls) == 24


def test_a_number_of_processes_that_makes_no_sense(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dataset_num_proc", "0", "--output_dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: dataset_num_proc must be at least 1, got 0\n"
