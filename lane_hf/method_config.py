"""MethodConfig: what the arguments of every method have in common."""

from dataclasses import dataclass, field, fields
from typing import Any, Self

from transformers import TrainingArguments

from .errors import InputError


@dataclass
class MethodConfig(TrainingArguments):
    """Training arguments of [`RowTrainer`] and base of the arguments of each method.

    A method adds its own fields, each with a help text, so that `HfArgumentParser` makes a command line of them, and
    checks them in [`check_fields`].

    Raises:
        InputError: a value, or a combination of values, makes no sense.

    Example:
        >>> config = MethodConfig(output_dir="out", learning_rate=5e-5)
    """

    check_replicas: bool = field(
        default=False,
        metadata={
            "help": "For finding faults: at every log and at the start, compare what the processes know of the rows, "
            "and stop if they differ."
        },
    )

    margin_history: bool = field(
        default=False,
        metadata={
            "help": "Keep the margin of every row in every epoch, for the report: 2 bytes a visit, in the file "
            "_report/margins.npy of output_dir."
        },
    )

    weight_averaging: float = field(
        default=0.0,
        metadata={
            "help": "Average the classifier's weights over training, after the first epoch and 150 steps: a step that "
            "lies this share of all steps back counts 1/e times as much as the last one. The average is what is "
            "evaluated, saved, and left in the model. 0 averages nothing."
        },
    )

    def __post_init__(self) -> None:
        """Check the method's own fields, then do what `TrainingArguments` does."""
        self.check_fields()
        super().__post_init__()
        self._guard_token()

    def check_fields(self) -> None:
        """Raise `InputError` if a field makes no sense."""
        check_range("weight_averaging", self.weight_averaging, 0, 1)
        optimizer = str(getattr(self.optim, "value", self.optim))
        if self.weight_averaging > 0 and optimizer.startswith("schedule_free"):
            raise InputError(
                f"weight_averaging does not go with optim={optimizer!r}, which averages the weights itself: leave one "
                "of them out"
            )

    @classmethod
    def own_fields(cls) -> list[str]:
        """Return the names of the fields that this method adds to those that all methods have."""
        common = {each.name for each in fields(MethodConfig)}
        return [each.name for each in fields(cls) if each.name not in common]

    @classmethod
    def from_training_arguments(cls, args: TrainingArguments) -> Self:
        """Return `args` with the method's defaults added; arguments of this method are returned as they are.

        The values are taken over as they stand: initialising them a second time would set up the devices again.
        """
        if isinstance(args, cls):
            return args
        config = cls.__new__(cls)
        own = {each.name: each.default for each in fields(cls) if each.name not in vars(args)}
        config.__dict__.update(vars(args), **own)
        config._guard_token()
        return config

    def _guard_token(self) -> None:
        if self.hub_token is not None:  # type: ignore[has-type]  # a field of TrainingArguments
            self.hub_token = _Token(self.hub_token)  # type: ignore[has-type]


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raise `InputError` unless a field has one of the values that it may have."""
    if value not in allowed:
        raise InputError(f"{name}={value!r} is unknown: choose one of {', '.join(allowed)}")


def check_range(name: str, value: float, low: float, high: float, *, open_low: bool = False) -> None:
    """Raise `InputError` unless `low <= value <= high` (`low < value` if `open_low`); NaN is never in range."""
    if not (low < value if open_low else low <= value) or not value <= high:
        raise InputError(f"{name} must be in {'(' if open_low else '['}{low:g}, {high:g}], got {value}")


class _Token(str):
    """A token that is left out when it is pickled: Trainer writes its arguments into `training_args.bin`, pickled.

    Nor is it shown where the arguments are: the `repr` of a dataclass shows every field.
    """

    def __repr__(self) -> str:
        return "'<HUB_TOKEN>'"

    def __reduce__(self) -> tuple[type[str], tuple[()]]:
        return str, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Token":
        return self
