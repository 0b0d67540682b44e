"""Tiny causal language models and tokenizers, and data and a command line for the benchmark of labellers."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tiny import make_text_dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from llm.prompts import Example, Task, make_prompt

NAMES = ["anger", "fear", "joy", "joyful"]  # one begins like another
CHAT = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[INST] {{ message['content'] }} "
    "[/INST]{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# Another text before answers that are finished than before the one that is to come.
UNEVEN_CHAT = CHAT.replace("{{ ' ' +", "{{ '<done> ' +") + "{% if add_generation_prompt %}<now>{% endif %}"


def make_data(folder: Path, rows: int = 40, test_rows: int = 12) -> Path:
    for split, number in {"train": rows, "validation": 8, "test": test_rows}.items():
        toy = make_text_dataset(number, 4, seed=len(split))
        table = pd.DataFrame({"text": toy["text"], "label": [NAMES[label] for label in toy["label"]]})
        (folder / "toy").mkdir(exist_ok=True)
        table.to_csv(folder / "toy" / f"{split}.csv", index=False)
    return folder


def make_tokenizer(kind: str = "bytes", template: str | None = None) -> Any:
    """Train a tokenizer on prompts.

    Args:
        kind: "bytes" as in GPT-2; "phrases" like it, but tokens may span words, and so the place where a label begins;
            "pieces" as in Llama 2, where a space belongs to the word behind it and the text begins with one.
        template: the chat template.
    """
    rows = make_text_dataset(40, 4, seed=0)
    examples = [Example(text, NAMES[label], False) for text, label in zip(rows["text"], rows["label"], strict=True)]
    backend = Tokenizer(models.BPE())
    if kind == "pieces":
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        backend.decoder = decoders.Metaspace(prepend_scheme="first")
        alphabet = [*map(chr, range(33, 127)), "\n", "▁"]
    else:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=kind == "bytes")
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    backend.train_from_iterator([make_prompt(NAMES, examples, "a text")] * 2, trainer)
    ends = [("<s>", 0), ("</s>", 1)]  # as encoders write texts: only the first is wanted here
    backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = template
    return tokenizer


def make_model(kind: str = "llama", longest: int = 2048) -> Any:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 400}
    if kind == "gpt2":
        config = GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=longest, vocab_size=400)
    elif kind == "mistral":
        sizes |= {"num_key_value_heads": 1, "sliding_window": 8}
        config = MistralConfig(**sizes, intermediate_size=37, max_position_embeddings=longest)
    else:
        config = LlamaConfig(**sizes, intermediate_size=37, max_position_embeddings=longest)
    config.initializer_range = 0.3  # far from uniform
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config)


def make_task(examples: int = 6, rows: int = 5, names: list[str] = NAMES) -> Task:
    shown, asked = make_text_dataset(examples, 4, seed=1), make_text_dataset(rows, 4, seed=2)
    columns = zip(shown["text"], shown["label"], strict=True)
    chosen = [Example(text, names[label % len(names)], False) for text, label in columns]
    return Task("toy", names, chosen, list(asked["text"]), [label % len(names) for label in asked["label"]])


def rig(model: Any, change: Callable[[torch.Tensor, torch.Tensor], None]) -> Any:
    """Let a function change the logits, given the inputs."""
    forward = model.forward

    def rigged(input_ids: torch.Tensor, **rest: Any) -> Any:
        output = forward(input_ids=input_ids, **rest)
        change(input_ids, output.logits)
        return output

    model.forward = rigged
    return model


def base(data: Path, **changes: Any) -> list[str]:
    given = {"data_dir": data, "datasets": "toy", "noise": "uniform:0.25", "repeats": 1, "examples": 8}
    given |= {"model": "none", "output": data / "lines.jsonl", **changes}
    return [part for name, value in given.items() if value is not None for part in (f"--{name}", str(value))]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
