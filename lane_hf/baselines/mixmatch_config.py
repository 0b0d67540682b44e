"""What the methods that learn by MixMatch have in common."""

from dataclasses import dataclass, field

from ..method_config import check_range
from .mixmatch import ramp
from .pair import PairConfig


@dataclass
class MixMatchConfig(PairConfig):
    """Arguments that all methods with MixMatch have.

    Raises:
        InputError: an option is out of range.

    Example:
        >>> MixMatchConfig(output_dir="out").mixmatch_warmup
        1.0
    """

    mixmatch_warmup: float = field(default=1.0, metadata={"help": "Epochs of plain cross-entropy at the start."})
    mixup_alpha: float = field(default=4.0, metadata={"help": "Parameter of the Beta distribution, above 0."})
    lambda_u: float = field(default=25.0, metadata={"help": "Weight of the unlabelled part that is reached."})
    lambda_u_ramp: float = field(
        default=0.3, metadata={"help": "Share of training over which that weight rises after the warm-up."}
    )

    def check_fields(self) -> None:
        """Raise `InputError` if a field makes no sense."""
        super().check_fields()
        check_range("mixmatch_warmup", self.mixmatch_warmup, 0, 1e6)
        check_range("mixup_alpha", self.mixup_alpha, 0, 1e3, open_low=True)
        check_range("lambda_u", self.lambda_u, 0, 1e6)
        check_range("lambda_u_ramp", self.lambda_u_ramp, 0, 1)

    def weight_u(self, progress: float, epochs: float) -> float:
        """Return the weight of the unlabelled part when a share `progress` of so many epochs is done."""
        return self.lambda_u * ramp(progress, self.mixmatch_warmup / max(epochs, 1), self.lambda_u_ramp)
