"""A figure before it is drawn: its name, what it shows, and how it is made."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

Maker = Callable[[], Figure | None]
"""A function that makes a figure, or returns None if there is nothing to draw."""


@dataclass(frozen=True)
class Drawing:
    """One figure. name: the name of its files; caption: what a reader sees; kind: what sort of figure it is."""

    name: str
    caption: str
    make: Maker
    kind: str = ""
