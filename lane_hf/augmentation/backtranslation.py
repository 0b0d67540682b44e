"""Back-translation: texts to another language and back, which rewords them without changing what they say."""

import hashlib
import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .marian import FoundModel, Generation, Translator, find_model
from .translation_cache import TranslationCache

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

DEFAULT_TEMPLATE = "Helsinki-NLP/opus-mt-{source}-{target}"
_DTYPES = ("float32", "bfloat16", "float16")

Direction = tuple[str, str]


class BackTranslation:
    """Reword texts by translating them to other languages and back (Sennrich et al., 2016; Edunov et al., 2018).

    The translation of a text depends on the text, the models and the settings alone: not on the texts beside it, the
    batch size (but for rounding), or what the cache held. Models are loaded one at a time, when there is something to
    translate, and freed. Weights are read from safetensors only, and no code of a model is ever run.

    Args:
        pivots: languages to go through: `("de",)` is en-de-en, `("de", "fr")` the chain en-de-fr-en.
        source: language of the texts.
        model_template: Hub id or folder of each direction's Marian model, with `{source}` and `{target}`; a Hub id may
            end in `@revision`.
        models: Hub ids or folders of single directions, such as `{("en", "de"): "my/folder"}`; the template names the
            rest.
        batch_size: texts in one batch.
        num_beams: beams of the search; 1 is greedy.
        do_sample: draw tokens at random, for more varied texts; another `seed` then gives other texts.
        temperature: of the draws; below 1 is more cautious.
        seed: of the draws.
        max_length: longest text and translation in tokens; None is what the model can take. What is longer is cut off.
        device: where to translate; None takes a GPU if there is one.
        dtype: type of the weights: float32 if None, bfloat16 or float16.
        cache_dir: folder in which every finished batch is kept, in plain text: what is there is not translated again,
            in this or any other process, and a run that was killed goes on where it stopped. None keeps nothing.
        progress_bar: show one for each direction.

    Raises:
        InputError: a setting makes no sense. When called also: a text is no string, a model cannot be found or loaded,
            the cache is damaged.

    Example:
        >>> reword = BackTranslation(pivots=("de",), cache_dir="cache")
        >>> reword(["I could not put this book down."])  # doctest: +SKIP
        ["I couldn't put this book away."]
    """

    def __init__(
        self,
        pivots: Sequence[str] = ("de",),
        source: str = "en",
        model_template: str = DEFAULT_TEMPLATE,
        *,
        models: Mapping[Direction, str | Path] | None = None,
        batch_size: int = 32,
        num_beams: int = 1,
        do_sample: bool = False,
        temperature: float = 1.0,
        seed: int = 0,
        max_length: int | None = None,
        device: "str | torch.device | None" = None,
        dtype: "str | torch.dtype | None" = None,
        cache_dir: str | Path | None = None,
        progress_bar: bool = True,
    ) -> None:
        self.directions = _directions(source, (pivots,) if isinstance(pivots, str) else tuple(pivots))
        self._names = _model_names(self.directions, model_template, models or {})
        for name, value in {"batch_size": batch_size, "num_beams": num_beams}.items():
            if value < 1:
                raise InputError(f"{name} must be 1 or more, got {value}")
        if max_length is not None and max_length < 2:  # noqa: PLR2004 - a token and the end mark
            raise InputError(f"max_length must be 2 or more, got {max_length}")
        if do_sample and num_beams > 1:
            raise InputError(f"do_sample draws one translation: it needs num_beams=1, got {num_beams}")
        if not (math.isfinite(temperature) and temperature > 0):
            raise InputError(f"temperature must be a finite number above 0, got {temperature}")
        dtype_name = str(dtype or "float32").removeprefix("torch.")
        if dtype_name not in _DTYPES:
            raise InputError(f"dtype={dtype_name!r} is unknown: choose one of {', '.join(_DTYPES)}")
        self._generation = Generation(num_beams, do_sample, temperature, seed, max_length, dtype_name)
        self._batch_size = batch_size
        self._device = device
        self._cache_dir = cache_dir
        self._progress_bar = progress_bar
        self._found: dict[Direction, FoundModel] = {}

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Return the texts reworded, in the same order.

        Texts without anything but white space stay as they are, and so does a text whose translation comes out empty.

        Raises:
            InputError: a text is no string, a model cannot be found or loaded, or the cache is damaged.
        """
        _check_texts(texts)
        current = {text: text for text in texts if text.strip()}
        if not current:
            return list(texts)
        for direction in self.directions:  # all of them first: a wrong name shows at once, not after hours
            self._find(direction)
        with TranslationCache(self._cache_dir) as cache:
            for direction in self.directions:
                wanted = list(dict.fromkeys(text for text in current.values() if text.strip()))
                translated = self._translate(direction, wanted, cache)
                current = {text: translated.get(before, before) for text, before in current.items()}
        lost = [text for text, result in current.items() if not result.strip()]
        if lost:
            logger.warning("%d of %d texts were translated to nothing: they stay as they are", len(lost), len(current))
            current.update({text: text for text in lost})
        return [current.get(text, text) for text in texts]

    def _find(self, direction: Direction) -> FoundModel:
        if direction not in self._found:
            self._found[direction] = find_model(self._names[direction], direction[1])
        return self._found[direction]

    def _translate(self, direction: Direction, texts: Sequence[str], cache: TranslationCache) -> dict[str, str]:
        """Translate distinct texts, those that the cache has not, batch by batch, longest first."""
        found = self._find(direction)
        prefix = hashlib.sha256(f"{found.fingerprint}\n{found.target}\n{self._generation.identity()}\n".encode())
        keys = {text: _key(prefix, text) for text in texts}
        cached = cache.get(list(keys.values()))
        result = {text: cached[key] for text, key in keys.items() if key in cached}
        # Texts of like length share a batch, so that little is padding; the longest show first if memory is short.
        missing = sorted((text for text in texts if text not in result), key=len, reverse=True)
        if not missing:
            return result
        logger.info("%s to %s: %d texts to translate, %d in the cache", *direction, len(missing), len(result))
        with (
            Translator(found, self._generation, self._device) as translator,
            self._progress(direction, len(texts), len(result)) as progress,
        ):
            for start in range(0, len(missing), self._batch_size):
                batch = missing[start : start + self._batch_size]
                seeds = [int.from_bytes(keys[text][:8]) >> 1 for text in batch]
                translations = translator.translate(batch, seeds)
                cache.put({keys[text]: translation for text, translation in zip(batch, translations, strict=True)})
                result.update(zip(batch, translations, strict=True))
                progress.update(len(batch))
        return result

    def _progress(self, direction: Direction, total: int, initial: int) -> Any:
        from tqdm.auto import tqdm

        return tqdm(
            total=total, initial=initial, desc="->".join(direction), unit="text", disable=not self._progress_bar
        )


def _directions(source: str, pivots: tuple[str, ...]) -> list[Direction]:
    if not pivots:
        raise InputError("pivots is empty: give at least one language to go through, such as ('de',)")
    stops = (source, *pivots, source)
    if not all(stops):
        raise InputError("source and pivots must be names of languages, such as 'en' and ('de',)")
    directions = list(itertools.pairwise(stops))
    for before, after in directions:
        if before == after:
            raise InputError(f"the way {'-'.join(stops)} goes from {before!r} to itself: change pivots or source")
    return directions


def _model_names(
    directions: Sequence[Direction], template: str, models: Mapping[Direction, str | Path]
) -> dict[Direction, str]:
    unused = sorted(set(models) - set(directions), key=str)
    if unused:
        way = ", ".join(map(str, directions))
        raise InputError(f"models names a model for {unused[0]}, which is not on the way: the directions are {way}")
    names: dict[Direction, str] = {}
    for source, target in directions:
        if (source, target) in models:
            names[source, target] = str(models[source, target])
            continue
        try:
            name = str(template).format(source=source, target=target)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise InputError(
                f"model_template={str(template)!r} cannot be filled in: only {{source}} and {{target}} go into braces"
            ) from error
        if name in (other for direction, other in names.items() if direction != (source, target)):
            raise InputError(
                f"model_template={str(template)!r} is the same for all: use {{source}} and {{target}} in it"
            )
        names[source, target] = name
    return names


def _check_texts(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise InputError("expected a list of texts, got a single one: put it in a list")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"row {row}: expected a text, got {type(text).__name__}: fill or remove it")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(f"row {row}: the text is no valid Unicode (character {error.start})") from error


def _key(prefix: "hashlib._Hash", text: str) -> bytes:
    digest = prefix.copy()
    digest.update(text.encode("utf-8"))
    return digest.digest()
