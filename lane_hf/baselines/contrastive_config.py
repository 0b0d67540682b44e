"""What the methods with a contrastive term have in common."""

from dataclasses import dataclass, field

from ..method_config import MethodConfig, check_range


@dataclass
class ContrastiveConfig(MethodConfig):
    """Arguments that all methods with a contrastive term have.

    Raises:
        InputError: an option is out of range.

    Example:
        >>> ContrastiveConfig(output_dir="out").temperature
        0.3
    """

    temperature: float = field(default=0.3, metadata={"help": "Temperature of the contrastive term."})
    gather_across_devices: bool = field(
        default=False,
        metadata={
            "help": "Let the contrastive term see the rows of all processes. Sends the embeddings of each step."
        },
    )

    def check_fields(self) -> None:
        """Raise `InputError` if the temperature is out of range."""
        super().check_fields()
        check_range("temperature", self.temperature, 1e-3, 1e3)
