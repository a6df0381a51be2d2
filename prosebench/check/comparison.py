"""The outcome of comparing one quantity with stored numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """Largest error of a quantity and the tolerance it is held to, both in the unit of the quantity."""

    quantity: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; an error that is not a number has not passed."""
        return self.error <= self.tolerance
