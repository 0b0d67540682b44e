"""Marian translation models: finding one, telling its weights from others', loading it, translating a batch."""

import hashlib
import importlib.util
import json
import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..display import first_line
from ..errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import MarianMTModel, MarianTokenizer

logger = logging.getLogger(__name__)

_COMMIT = re.compile("[0-9a-f]{40}")
_NEEDED = ("config.json", "source.spm", "target.spm", "vocab.json")
_FINGERPRINTED = ("*.json", "*.spm", "*.safetensors")
_LOADING = threading.Lock()  # Transformers loads models wrongly in two threads at once


@dataclass(frozen=True)
class Generation:
    """How translations are made: everything of it that may change a translation.

    Args:
        num_beams: beams of the search; 1 is greedy.
        do_sample: draw tokens at random instead.
        temperature: of the draws.
        seed: of the draws.
        max_length: longest text and translation in tokens, at most what the model can take.
        dtype: name of the weights' type, such as `"float32"`.

    Example:
        >>> Generation(num_beams=4).identity()
        'num_beams=4 max_length=None dtype=float32'
    """

    num_beams: int = 1
    do_sample: bool = False
    temperature: float = 1.0
    seed: int = 0
    max_length: int | None = None
    dtype: str = "float32"

    def identity(self) -> str:
        """Return what tells these settings from others that translate otherwise."""
        how = (
            f"temperature={float(self.temperature)} seed={self.seed}"
            if self.do_sample
            else f"num_beams={self.num_beams}"
        )
        return f"{how} max_length={self.max_length} dtype={self.dtype}"


@dataclass(frozen=True)
class FoundModel:
    """The model of one direction, found but not loaded.

    Args:
        name: Hub id or folder.
        revision: Hub revision as asked for; None is the main one.
        fingerprint: changes whenever the model's files do.
        target: language that it translates to.
    """

    name: str
    revision: str | None
    fingerprint: str
    target: str


def find_model(name: str, target: str) -> FoundModel:
    """Find a Marian model in a folder or on the Hub without loading its weights.

    A Hub model is known by its commit: to learn it, `config.json` is fetched or looked up in the Hub's local cache,
    unless the revision is a full commit hash already. A folder is known by the SHA-256 of its files.

    Args:
        name: folder, Hub id, or Hub id with a revision, as in `"Helsinki-NLP/opus-mt-en-de@refs/pr/3"`.
        target: language that it translates to.

    Raises:
        InputError: there is no such model, it cannot be reached, or it is no Marian model.

    Example:
        >>> find_model("Helsinki-NLP/opus-mt-en-de", "de")  # doctest: +SKIP
        FoundModel(name='Helsinki-NLP/opus-mt-en-de', revision=None, fingerprint='Helsinki-NLP/...', target='de')
    """
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        missing = [file for file in _NEEDED if not (folder / file).is_file()]
        if missing:
            raise InputError(f"the folder {name} holds no Marian model: it has no {missing[0]}")
        if not any(folder.glob("*.safetensors")):
            raise InputError(f"the folder {name} has no *.safetensors: save the model with save_pretrained")
        _check_kind(name, folder / "config.json")
        return FoundModel(str(folder), None, _fingerprint(folder), target)
    hub_id, _, revision = name.partition("@")
    if _COMMIT.fullmatch(revision):
        return FoundModel(hub_id, revision, f"{hub_id}@{revision}", target)
    config = _fetch_config(hub_id, revision or None)
    _check_kind(name, config)
    return FoundModel(hub_id, revision or None, f"{hub_id}@{config.parent.name}", target)


def _fetch_config(hub_id: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(hf_hub_download(hub_id, "config.json", revision=revision))
    except HFValidationError as error:
        reason = "it is neither a folder nor a Hub id"
        raise InputError(f"the translation model {hub_id!r} cannot be found: {reason}") from error
    except RepositoryNotFoundError as error:
        reason = "there is no folder and no Hub model of this name, or it is private"
        raise InputError(f"the translation model {hub_id!r} cannot be found: {reason}") from error
    except RevisionNotFoundError as error:
        raise InputError(f"the translation model {hub_id!r} has no revision {revision!r}") from error
    except LocalEntryNotFoundError as error:
        reason = "there is no folder of this name, the Hub cannot be reached, and its local cache has no such model"
        raise InputError(f"the translation model {hub_id!r} cannot be found: {reason}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"the translation model {hub_id!r} cannot be found: {first_line(error)}") from error


def _check_kind(name: str, config: Path) -> None:
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"the config.json of the translation model {name!r} is damaged: {first_line(error)}"
        ) from error
    if kind != "marian":
        # Other translators must be told the languages in their own ways, and without that they translate anyhow.
        raise InputError(
            f"{name!r} is a model of type {kind!r}: back-translation needs Marian models, such as opus-mt"
        )


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _FINGERPRINTED for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


class Translator:
    """A loaded model: translates batches of texts, and frees its memory at the end of a `with` block.

    Args:
        found: the model.
        generation: how translations are made.
        device: where; None takes a GPU if there is one.

    Raises:
        InputError: the model cannot be loaded, or its weights are not in safetensors, or not those of the model.

    Example:
        >>> found = find_model("Helsinki-NLP/opus-mt-en-de", "de")  # doctest: +SKIP
        >>> with Translator(found, Generation()) as translator:  # doctest: +SKIP
        ...     translator.translate(["Good morning."], seeds=[0])
        ['Guten Morgen.']
    """

    def __init__(self, found: FoundModel, generation: Generation, device: "str | torch.device | None" = None) -> None:
        import torch

        self._generation = generation
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._tokenizer, self._model = _load(found, getattr(torch, generation.dtype))
        self._model.to(self._device).eval()
        # Positions are counted from the left end: padding there would shift a text, whatever the attention mask.
        self._tokenizer.padding_side = "right"
        self._prefix = _language_prefix(self._tokenizer, found)
        limits = [self._model.config.max_position_embeddings, self._tokenizer.model_max_length]
        self._limit = min(limits if generation.max_length is None else [*limits, generation.max_length])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        import torch

        # The next model needs the room now, and not when Python gets round to collecting the modules' circles.
        self._model.to("meta")
        del self._model, self._tokenizer
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def translate(self, texts: Sequence[str], seeds: Sequence[int]) -> list[str]:
        """Translate a batch.

        Args:
            texts: not empty; what is longer than the limit is cut off.
            seeds: one for each text, from which its draws are made; not used without sampling.

        Returns:
            The translations in the same order.
        """
        import torch
        from transformers import LogitsProcessorList

        inputs = self._tokenizer(
            [self._prefix + text for text in texts],
            padding=True,
            truncation=True,
            max_length=self._limit,
            return_tensors="pt",
        ).to(self._device)
        processors = LogitsProcessorList()
        if self._generation.do_sample:
            processors.append(_sampler(seeds, self._generation.temperature))
        with torch.inference_mode():
            tokens = self._model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                logits_processor=processors,
                num_beams=self._generation.num_beams,
                do_sample=False,  # the processor draws
                max_length=self._limit,
            )
        translations: list[str] = self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return translations


def _load(found: FoundModel, dtype: "torch.dtype") -> "tuple[MarianTokenizer, MarianMTModel]":
    if importlib.util.find_spec("sentencepiece") is None:
        raise InputError("back-translation needs sentencepiece: pip install sentencepiece sacremoses")
    import torch
    from safetensors import SafetensorError
    from transformers import MarianMTModel, MarianTokenizer

    where = {"revision": found.revision or "main", "trust_remote_code": False}
    try:
        tokenizer = MarianTokenizer.from_pretrained(found.name, **where)
        with _LOADING, torch.random.fork_rng(devices=[]):  # loading moves the global random state
            model, report = MarianMTModel.from_pretrained(
                found.name,
                use_safetensors=True,
                dtype=dtype,
                ignore_mismatched_sizes=True,  # reported below, in one line
                output_loading_info=True,
                **where,
            )
    except (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError, SafetensorError) as error:
        reason = first_line(error)
        hint = "; 'name@refs/pr/N' takes a converted revision of the Hub" if "safetensors" in reason else ""
        raise InputError(f"the translation model {found.name!r} cannot be loaded: {reason}{hint}") from error
    # Transformers makes up what is missing and goes on. Tied and computed weights do not count as missing.
    wrong = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if wrong:
        raise InputError(f"the translation model {found.name!r} is damaged: {wrong[0]} is missing or has another size")
    return tokenizer, model


def _language_prefix(tokenizer: "MarianTokenizer", found: FoundModel) -> str:
    """Return the code that a model with several target languages wants before each text."""
    codes = tokenizer.supported_language_codes
    code = f">>{found.target}<<"
    if code in codes:
        return f"{code} "
    if codes:
        logger.warning(
            "%s translates to several languages, but %s is none of them (it knows %s): name the language as the model "
            "does",
            found.name,
            code,
            " ".join(sorted(codes)[:5]),
        )
    return ""


def _sampler(seeds: Sequence[int], temperature: float) -> Any:
    """Return a processor after which the likeliest token is a random draw (the Gumbel-max trick).

    Transformers draws all rows of a batch from one stream, so a text's translation would depend on its neighbours, and
    a run that goes on after a stop would differ from one that was not stopped. Here every text has its own stream.
    """
    import torch
    from transformers import LogitsProcessor

    class GumbelSampler(LogitsProcessor):
        def __init__(self) -> None:
            self.streams = [torch.Generator().manual_seed(seed) for seed in seeds]

        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            noise = torch.empty(scores.shape)  # drawn on the CPU, so that all devices draw the same
            for row, stream in zip(noise, self.streams, strict=True):
                row.exponential_(generator=stream)
            return scores.float() / temperature - noise.clamp_min(1e-30).log().to(scores.device)

    return GumbelSampler()
