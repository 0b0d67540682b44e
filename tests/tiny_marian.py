"""Tiny random Marian translation models with SentencePiece tokenizers, built on the spot: nothing is downloaded."""

from __future__ import annotations

import io
import json
from pathlib import Path

import sentencepiece
import torch
from transformers import GenerationConfig, MarianConfig, MarianMTModel, MarianTokenizer

MAX_TOKENS = 14
_PIECES = 60
_SENTENCES = [
    "the goal of the match was a joy for the team",
    "we love this song and the concert in the old hall",
    "bank and stock trade for profit on the market",
    "the rocket flew to a planet near the moon and the star",
    "soup with bread and cheese in my kitchen, you can have it",
]


def _train_sentencepiece() -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_SENTENCES),
        model_writer=model,
        vocab_size=_PIECES,
        hard_vocab_limit=False,
        minloglevel=2,  # errors only
    )
    return model.getvalue()


def make_marian(
    path: Path, seed: int = 0, *, padding_side: str = "right", language_codes: tuple[str, ...] = ()
) -> Path:
    """Save a random model and its tokenizer as `save_pretrained` and the Hub lay them out; return the folder.

    The weights are large enough for translations to depend on every word. The global random state is left as it was.
    """
    path.mkdir(parents=True, exist_ok=True)
    pieces = _train_sentencepiece()
    for name in ("source.spm", "target.spm"):
        (path / name).write_bytes(pieces)
    processor = sentencepiece.SentencePieceProcessor(model_proto=pieces)
    words = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    # Marian's own order: the end mark first, padding last.
    vocabulary = ["</s>", "<unk>", *(word for word in words if word not in ("<s>", "</s>", "<unk>"))]
    vocabulary += [*language_codes, "<pad>"]
    (path / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(vocabulary)}))
    files = {"source_spm": "source.spm", "target_spm": "target.spm", "vocab": "vocab.json"}
    tokenizer = MarianTokenizer(
        **{key: str(path / name) for key, name in files.items()}, model_max_length=512, padding_side=padding_side
    )
    tokenizer.save_pretrained(path)

    pad = len(vocabulary) - 1
    sizes = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in _LAYERS.items()}
    config = MarianConfig(
        vocab_size=len(vocabulary),
        d_model=16,
        max_position_embeddings=MAX_TOKENS,
        pad_token_id=pad,
        eos_token_id=0,
        decoder_start_token_id=pad,
        forced_eos_token_id=0,
        init_std=0.5,
        **sizes,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MarianMTModel(config)
    model.generation_config = GenerationConfig(
        # As opus-mt has them.
        max_length=512,
        num_beams=4,
        bad_words_ids=[[pad]],
        forced_eos_token_id=0,
        pad_token_id=pad,
        eos_token_id=0,
        decoder_start_token_id=pad,
        no_repeat_ngram_size=1,  # else random models say one word over and over, whatever the text
    )
    model.save_pretrained(path)
    return path


_LAYERS = {"layers": 1, "attention_heads": 2, "ffn_dim": 24}
