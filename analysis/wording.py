"""Lists of names as they stand in tables, figures and messages."""

from collections.abc import Sequence
from typing import Literal


def first_few(texts: Sequence[str], most: int = 4, between: Literal[",", ";"] = ",") -> str:
    """The first of some texts and the number of the others: "AA, KG and 3 more", or "no memory; no time; and 3 more".

    between: what separates them; ";" for texts that may hold commas.
    """
    shown, more = f"{between} ".join(texts[:most]), len(texts) - most
    if more <= 0:
        return shown
    return f"{shown}{'' if between == ',' else between} and {more} more"
