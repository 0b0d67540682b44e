"""What the tests of back-translation translate, and by which models."""

import random
from collections.abc import Callable

from lane_hf.augmentation.backtranslation import BackTranslation

DIRECTIONS = [("en", "de"), ("de", "en"), ("de", "fr"), ("fr", "en")]
WORDS = ["the", "goal", "match", "joy", "team", "we", "love", "song", "concert", "bank", "rocket", "soup", "bread"]
Make = Callable[..., BackTranslation]


def make_texts(number: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [f"{' '.join(rng.choices(WORDS, k=rng.randint(1, 6)))} {index}" for index in range(number)]
