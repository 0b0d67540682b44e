"""Distances between labels: which wrong labels are plausible, and how wrong they are.

Semantic label noise (`lane_hf.noise`, Eq. 10 of LANE) flips a label more often to a near label than to a far one.
Where labels have a known geometry, this file gives it as a matrix `[K, K]`, in the order of the labels' indices, with
a zero diagonal:

- ordinal labels (stars, grades): steps between the ranks;
- emotions: steps around Plutchik's wheel, secondary emotions through their primary emotion;
- anything else: cosine distances between embeddings of the labels' names, or a matrix of your own.

Sources: Sosea & Caragea, "LANE: Label-Aware Noise Elimination", ICLR 2026; Plutchik, "The Nature of Emotions",
American Scientist 89(4), 2001; Shaver et al., "Emotion Knowledge", Journal of Personality and Social Psychology 52(6),
1987; the grouping of Demszky et al., "GoEmotions", ACL 2020.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lane_hf.errors import InputError

GEOMETRIES = ("ordinal", "plutchik", "none")
"""What `distances_for` understands."""

WHEEL = ("joy", "trust", "fear", "surprise", "sadness", "disgust", "anger", "anticipation")
"""Plutchik's eight primary emotions, in their order around the wheel."""

NEUTRAL = "neutral"
"""The label that stands for no emotion: GoEmotions' 28th."""

SAME_PRIMARY_DISTANCE = 0.5
"""Between two labels of one primary emotion (anger and annoyance): half a step, nearer than any other emotion."""

NEUTRAL_DISTANCE = 2.0
"""From neutral to every emotion: the mean number of steps from an emotion to the eight, half-way to the opposite.

It is also the smallest value that keeps the triangle inequality: opposite emotions are 4 steps apart.
"""

MIN_LABELS = 2
"""With fewer labels there is no wrong one."""

_FAMILIES: Mapping[str, tuple[str, ...]] = {
    # Love is joy + trust on the wheel; GoEmotions and Shaver et al. (1987) count it, pride and relief as joy.
    "joy": (
        *("joy", "amusement", "excitement", "gratitude", "love", "pride", "relief"),
        *("content", "excited", "grateful", "joyful", "proud"),
    ),
    # Plutchik: admiration is intense trust, acceptance (approval) mild trust. To be impressed is to admire.
    "trust": (
        *("trust", "admiration", "approval", "caring"),
        *("confident", "faithful", "impressed", "trusting"),
    ),
    # Plutchik: terror is intense fear, apprehension mild fear.
    "fear": ("fear", "nervousness", "afraid", "anxious", "apprehensive", "terrified"),
    # As GoEmotions groups them; Plutchik's mild surprise is distraction.
    "surprise": ("surprise", "confusion", "realization", "surprised"),
    # Plutchik: grief is intense sadness, pensiveness (nostalgic, sentimental) mild sadness. Shame, guilt, remorse and
    # embarrassment are mixtures on the wheel (fear + disgust, joy + fear, sadness + disgust); Shaver et al. (1987) and
    # GoEmotions put them under sadness.
    "sadness": (
        *("sadness", "disappointment", "embarrassment", "grief", "remorse"),
        *("ashamed", "devastated", "disappointed", "embarrassed", "guilty", "lonely", "nostalgic", "sad"),
        *("sentimental", "shame", "guilt"),
    ),
    # Disapproval rejects, which is what disgust does on the wheel, opposite to accepting (approval). It lies between
    # the two other readings: surprise + sadness (Plutchik's dyad) and anger (GoEmotions).
    "disgust": ("disgust", "disapproval", "disgusted"),
    # Plutchik: annoyance is mild anger. Jealousy is under anger in Shaver et al. (1987).
    "anger": ("anger", "annoyance", "angry", "annoyed", "furious", "jealous"),
    # Plutchik: interest (curiosity) is mild anticipation; hope and optimism are anticipation + trust or joy.
    "anticipation": (
        *("anticipation", "curiosity", "desire", "optimism"),
        *("anticipating", "hopeful", "prepared"),
    ),
    NEUTRAL: (NEUTRAL,),
}

PRIMARY_EMOTION: Mapping[str, str] = MappingProxyType(
    {name: primary for primary, names in _FAMILIES.items() for name in names}
)
"""Label name (lower case) -> primary emotion of Plutchik's wheel, or "neutral".

It knows every label of GoEmotions (27 emotions and neutral), Empathetic Dialogues (32), ISEAR (7) and CancerEmo (8).
A few emotions are mixtures and could stand under another primary emotion; the source comments on each such choice.
"""


def check_num_labels(num_labels: object) -> int:
    """Return the number of labels K as an int.

    Args:
        num_labels: a whole number, at least 2.

    Raises:
        InputError: if it is not a whole number, or below 2.

    Example:
        >>> check_num_labels(6)
        6
    """
    if isinstance(num_labels, bool) or not isinstance(num_labels, int | np.integer):
        raise InputError(f"num_labels must be a whole number, got {num_labels!r}")
    if num_labels < MIN_LABELS:
        raise InputError(f"num_labels is {num_labels}: there is no wrong label with fewer than {MIN_LABELS} labels")
    return int(num_labels)


def as_square_matrix(values: ArrayLike, what: str, num_labels: int | None = None) -> NDArray[np.float64]:
    """Return a copy of `values` as a finite float64 matrix `[K, K]`.

    Args:
        values: anything numpy can make an array of.
        what: the name of the matrix in error messages.
        num_labels: the K it must have; None takes any from 2 on.

    Raises:
        InputError: if the values are not numbers, not square, not `[K, K]`, or not finite.

    Example:
        >>> as_square_matrix([[0, 1], [1, 0]], "distances")
        array([[0., 1.],
               [1., 0.]])
    """
    try:
        matrix = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{what} must be a [K, K] array of numbers; these values do not make one") from None
    if matrix.ndim == 0 or matrix.shape != (len(matrix), len(matrix)):
        raise InputError(f"{what} must be square, [K, K]; got shape {list(matrix.shape)}")
    if num_labels is not None and len(matrix) != num_labels:
        raise InputError(f"{what} has {len(matrix)} rows, but there are {num_labels} labels: give [K, K]")
    check_num_labels(len(matrix))
    _reject_cells(~np.isfinite(matrix), matrix, what, "every entry must be a finite number")
    return matrix


def validate_distances(matrix: ArrayLike, num_labels: int) -> NDArray[np.float64]:
    """Check a matrix of distances between labels and return it as float64.

    Rounding errors (below a millionth of the largest distance) are forgiven and mended: the returned matrix is exactly
    symmetric, with exact zeros on the diagonal. The input is not modified.

    Args:
        matrix: `[K, K]` distances, in any unit.
        num_labels: K.

    Returns:
        `[K, K]` float64, a new array.

    Raises:
        InputError: if the matrix is not `[K, K]`, finite, non-negative and symmetric with a zero diagonal.

    Example:
        >>> validate_distances([[0, 2], [2, 0]], num_labels=2)
        array([[0., 2.],
               [2., 0.]])
    """
    distances = as_square_matrix(matrix, "distances", check_num_labels(num_labels))
    tolerance = 1e-6 * np.abs(distances).max()
    diagonal = np.eye(len(distances), dtype=bool)
    _reject_cells(distances < -tolerance, distances, "distances", "a distance cannot be negative")
    _reject_cells(diagonal & (distances > tolerance), distances, "distances", "a label's distance to itself must be 0")
    asymmetric = np.abs(distances - distances.T) > tolerance
    _reject_cells(asymmetric, distances, "distances", "the matrix must be symmetric, the same both ways")
    mended: NDArray[np.float64] = (distances + distances.T) / 2
    mended[diagonal | (mended < 0)] = 0.0
    return mended


def ordinal_distances(num_labels: int) -> NDArray[np.float64]:
    """Distances between ranked labels: the number of ranks between them.

    Args:
        num_labels: K, at least 2. Label indices must follow the ranks (very negative 0, ..., very positive 4).

    Returns:
        `[K, K]` float64, `|i - j|`.

    Raises:
        InputError: if `num_labels` is not a whole number of at least 2.

    Example:
        >>> ordinal_distances(3)
        array([[0., 1., 2.],
               [1., 0., 1.],
               [2., 1., 0.]])
    """
    ranks = np.arange(check_num_labels(num_labels), dtype=np.float64)
    distances: NDArray[np.float64] = np.abs(ranks[:, None] - ranks)
    return distances


def named_ordinal_distances(label_names: Sequence[str], order: Sequence[str] | None = None) -> NDArray[np.float64]:
    """Distances between ranked labels of a table, whose indices follow the alphabet rather than the ranks.

    Args:
        label_names: K names in the order of the label indices.
        order: the same names from the lowest to the highest; not needed for numbers.

    Returns:
        `[K, K]` float64: ranks between the labels.

    Raises:
        InputError: the order is not known, or has other names.

    Example:
        >>> named_ordinal_distances(["10", "2", "5"])[0]
        array([0., 2., 1.])
    """
    names = list(map(str, label_names))
    if order is None:
        try:
            ranks = [sorted(map(float, names)).index(float(name)) for name in names]
        except ValueError:
            raise InputError(
                "the ranks of these labels are not known: name them from the lowest to the highest with label_order"
            ) from None
    elif sorted(order) != sorted(names):
        raise InputError(f"label_order must name each label once: {', '.join(sorted(names))}")
    else:
        ranks = [list(order).index(name) for name in names]
    return ordinal_distances(len(names))[np.ix_(ranks, ranks)]


def plutchik_distances(label_names: Sequence[str]) -> NDArray[np.float64]:
    """Distances between emotions: steps around Plutchik's wheel.

    Primary emotions are 1 step (joy, trust) to 4 steps (joy, sadness) apart. A secondary emotion stands where its
    primary emotion stands (`PRIMARY_EMOTION`); two labels of one primary emotion are 0.5 apart
    (`SAME_PRIMARY_DISTANCE`); neutral is 2 from everything (`NEUTRAL_DISTANCE`). The result is a metric: distances
    between different labels are positive and obey the triangle inequality.

    Args:
        label_names: K different names in the order of the label indices; upper and lower case are the same.

    Returns:
        `[K, K]` float64, in steps around the wheel.

    Raises:
        InputError: for a name that is not in `PRIMARY_EMOTION`, a name given twice, or fewer than two names.

    Source:
        Plutchik (2001), figure 6: the wheel of eight primary emotions.

    Example:
        >>> plutchik_distances(["joy", "love", "sadness", "neutral"])
        array([[0. , 0.5, 4. , 2. ],
               [0.5, 0. , 4. , 2. ],
               [4. , 4. , 0. , 2. ],
               [2. , 2. , 2. , 0. ]])
    """
    names = [name.strip().casefold() for name in _checked_names(label_names)]
    unknown = [name for name, known in zip(label_names, names, strict=True) if known not in PRIMARY_EMOTION]
    if unknown:
        raise InputError(
            f"no place on Plutchik's wheel is known for {', '.join(map(repr, unknown))}: "
            "use the names of emotions (lane_hf.label_space.PRIMARY_EMOTION lists them), or another geometry"
        )
    _checked_names(names)  # "Joy" and "joy" are one emotion: 0.5 between them would be an accident
    places = np.array([(*WHEEL, NEUTRAL).index(PRIMARY_EMOTION[name]) for name in names])
    distances: NDArray[np.float64] = _wheel_with_neutral()[np.ix_(places, places)]
    distances[places[:, None] == places] = SAME_PRIMARY_DISTANCE
    np.fill_diagonal(distances, 0.0)
    return distances


def name_embedding_distances(
    label_names: Sequence[str], embed: Callable[[list[str]], ArrayLike]
) -> NDArray[np.float64]:
    """Distances between labels as the cosine distances between embeddings of their names.

    Args:
        label_names: K different names in the order of the label indices, given to `embed` as they are.
        embed: maps a list of K texts to an array `[K, d]`; for example `SentenceTransformer(...).encode`.

    Returns:
        `[K, K]` float64 in `[0, 2]`: 0 for the same direction, 1 for orthogonal, 2 for opposite embeddings.

    Raises:
        InputError: for a name given twice, fewer than two names, or embeddings that are not `[K, d]`, finite and
            different from zero.

    Example:
        >>> vectors = {"cat": [1.0, 0.0], "dog": [1.0, 0.0], "car": [0.0, 2.0]}
        >>> name_embedding_distances(list(vectors), lambda names: [vectors[name] for name in names])
        array([[0., 0., 1.],
               [0., 0., 1.],
               [1., 1., 0.]])
    """
    names = _checked_names(label_names)
    try:
        vectors = np.array(embed(names), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"embed must return a [K, d] array of numbers on the CPU: {error}") from error
    if vectors.shape != (len(names), vectors.size // len(names)):
        raise InputError(f"embed must return one row per name, [{len(names)}, d]; got shape {list(vectors.shape)}")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = [name for name, norm in zip(names, norms[:, 0], strict=True) if not np.isfinite(norm) or norm == 0]
    if bad:
        raise InputError(f"the embedding of {', '.join(map(repr, bad))} is zero or not finite: it has no direction")
    units = vectors / norms
    distances = np.clip(1.0 - units @ units.T, 0.0, 2.0)
    np.fill_diagonal(distances, 0.0)
    return validate_distances(distances, len(names))


def distances_for(geometry: str, label_names: Sequence[str]) -> NDArray[np.float64]:
    """Distances between labels by the name of their geometry.

    Args:
        geometry: "ordinal" (the names stand in the order of their ranks), "plutchik" (the names are emotions) or
            "none" (the labels have no known geometry).
        label_names: K names in the order of the label indices.

    Returns:
        `[K, K]` float64; see `ordinal_distances` and `plutchik_distances` for the units.

    Raises:
        InputError: for "none", for an unknown geometry, and as the function of the geometry does.

    Example:
        >>> distances_for("ordinal", ["bad", "fair", "good"])[0]
        array([0., 1., 2.])
    """
    if geometry == "ordinal":
        return ordinal_distances(len(_checked_names(label_names)))
    if geometry == "plutchik":
        return plutchik_distances(label_names)
    if geometry == "none":
        raise InputError(
            "these labels have no known geometry, and semantic noise needs one: "
            "give a [K, K] matrix of distances, or choose another kind of noise"
        )
    raise InputError(f"unknown label geometry {geometry!r}: choose one of {', '.join(GEOMETRIES)}")


def _wheel_with_neutral() -> NDArray[np.float64]:
    """Distances `[9, 9]` between the places of `(*WHEEL, NEUTRAL)`."""
    places = np.arange(len(WHEEL))
    clockwise = (places[:, None] - places) % len(WHEEL)
    distances = np.full((len(WHEEL) + 1, len(WHEEL) + 1), NEUTRAL_DISTANCE)
    distances[:-1, :-1] = np.minimum(clockwise, len(WHEEL) - clockwise)
    distances[-1, -1] = 0.0
    return distances


def _checked_names(label_names: Sequence[str]) -> list[str]:
    """The names as a list: at least two different strings."""
    if isinstance(label_names, str):  # a str is a sequence of str, of its letters
        raise InputError(f"label_names must be a list of names, got the single text {label_names!r}")
    names = list(label_names)
    not_text = [name for name in names if not isinstance(name, str)]
    if not_text:
        raise InputError(f"label names must be texts, got {not_text[0]!r}: give the names, not the label indices")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"label name given twice: {', '.join(map(repr, twice))}; every label needs its own name")
    check_num_labels(len(names))
    return names


def _reject_cells(bad: NDArray[np.bool_], matrix: NDArray[np.float64], what: str, rule: str) -> None:
    """Raise an `InputError` that shows the first bad cell, if there is one."""
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise InputError(f"{what}[{row}, {column}] is {matrix[row, column]:g}: {rule}")
