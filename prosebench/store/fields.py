"""Kinds of fields that file formats share: numbers that are finite and within what can be, names, hashes, short texts.

Whoever wrote a file, and this program when it writes one, is held to the same ranges. They are far above anything that
can be computed, and low enough for all arithmetic on them to stay finite.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from prosebench.names import MOST_EVALUATIONS, check_kelvin

MOST_NESTING = 16
MOST_TEXT = 2000
MOST_SETTINGS_TEXT = 100_000

Count = Annotated[int, Field(ge=0, le=MOST_EVALUATIONS)]
Budget = Annotated[int, Field(gt=0, le=MOST_EVALUATIONS)]
FrameCount = Annotated[int, Field(gt=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Processes = Annotated[int, Field(ge=1, le=10**6)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]
Kelvin = Annotated[float, Field(gt=0, le=1e5, allow_inf_nan=False)]
AskedKelvin = Annotated[float, AfterValidator(check_kelvin)]
"""A temperature in kelvin that a user asks for. A number that is probably in degrees Celsius is refused."""

Name = Annotated[str, Field(pattern=r"^[0-9A-Za-z_(][ -.0-\[\]-~]*$", max_length=100)]
"""The name of a suite, a row or a method. It becomes part of file names, so it has no slash and does not
begin with a dot."""

OneLetterCode = Annotated[str, Field(pattern=r"^[A-Z]+$", max_length=60)]
"""The sequence of a peptide in one-letter codes."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    return text


Text = Annotated[str, Field(max_length=MOST_TEXT), AfterValidator(_printable)]
"""One line of text for people to read. Characters that would break a terminal or a table are refused."""

SomeText = Annotated[str, Field(min_length=1, max_length=MOST_TEXT), AfterValidator(_printable)]
"""A `Text` that is not empty."""


def one_line(text: str) -> str:
    """A text as a `Text`: white space and what cannot be printed become single spaces, and what is too long is cut."""
    words = "".join(one if one.isprintable() else " " for one in text).split()
    line = " ".join(words)
    return line if len(line) <= MOST_TEXT else f"{line[: MOST_TEXT - 2]} …"


def first_fault(error: ValidationError) -> Any:
    """The first thing that is wrong, as pydantic says it; of a misspelt key, that it is unknown.

    Such a key shows up twice, as one that is missing and one that is unknown; the second helps more.
    """
    found = error.errors(include_url=False, include_input=False)
    return min(found, key=lambda one: one["type"] != "extra_forbidden")


def explained(error: ValidationError) -> str:
    """The first thing that is wrong, in one line: where it is, and what it should be."""
    first = first_fault(error)
    # A key of a file may be of any length, and hold anything.
    place = one_line(".".join(str(part) for part in first["loc"]))[:100]
    if first["type"] == "extra_forbidden":
        return f"unknown key {place!r}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    """Settings as they came. Raises ValueError for what JSON, a hash or a table could not hold."""
    waiting: list[tuple[Any, int]] = [(content, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MOST_NESTING:
            raise ValueError(f"must not be nested more than {MOST_NESTING} deep")
        if isinstance(value, dict):
            if not all(isinstance(name, str) for name in value):
                raise ValueError("must have names for keys")
            waiting.extend((name, depth) for name in value)
            waiting.extend((one, depth + 1) for one in value.values())
        elif isinstance(value, list | tuple):
            waiting.extend((one, depth + 1) for one in value)
        elif isinstance(value, float):
            if not abs(value) < float("inf"):
                raise ValueError("must hold finite numbers alone")
        elif isinstance(value, int):
            if abs(value) >= 2**64:
                raise ValueError("must hold no whole number of more than 64 bits")
        elif isinstance(value, str):
            if len(value) > MOST_SETTINGS_TEXT or not _is_text(value):
                raise ValueError(f"must hold texts of at most {MOST_SETTINGS_TEXT:,} characters")
        elif value is not None:
            raise ValueError(f"must hold numbers, texts, lists and tables alone, not {type(value).__name__}")
    return content


def _is_text(value: str) -> bool:
    """Whether a text can be written to a file: halves of surrogate pairs, which JSON lets through, cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


Settings = Annotated[dict[str, Any], AfterValidator(_plain)]
"""The settings of a method: whatever JSON can hold, with finite numbers and of a limited size."""
