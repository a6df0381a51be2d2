"""Tables on a terminal, however narrow: what does not fit goes on in the next line, and nothing is cut off."""

from typing import Any

from rich.table import Table


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
