"""Text as it is and tables on a terminal, however narrow: what does not fit goes on in the next line."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def plain_console(**options: Any) -> Console:
    """A console that prints text as it is, since a path may hold [brackets] and :colons:; styles are asked for apart.

    options are those of rich's Console.
    """
    return Console(highlight=False, markup=False, emoji=False, **options)


def pass_or_fail(passed: bool) -> Text:
    """The mark of a check, in its colour."""
    return Text("pass", "green") if passed else Text("FAIL", "red")


class _Folding(Table):
    """A table whose columns fold what is too long for them; the first, and those of numbers, do so last."""

    def add_column(self, header: Any = "", *parts: Any, **options: Any) -> None:
        """As in rich, with other defaults."""
        options = {
            "overflow": "fold",
            "no_wrap": not self.columns or options.get("justify") == "right",
        } | options
        super().add_column(header, *parts, **options)


def plain_table(*headings: str) -> Table:
    """A table without lines."""
    table = _Folding(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading)
    return table
