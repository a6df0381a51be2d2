"""What files may hold is the same for whoever wrote them, and what is wrong is said in one line."""

import math
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from prosebench.store.fields import (
    MOST_NESTING,
    MOST_TEXT,
    AskedKelvin,
    Budget,
    Count,
    Kelvin,
    Name,
    OneLetterCode,
    Seconds,
    Seed,
    Settings,
    Sha256,
    SomeText,
    Text,
    explained,
    one_line,
)

RIGHT: list[tuple[Any, Any]] = [
    (Name, "prose-snis [com=published]"),
    (Name, "(declared)"),
    (Name, "7 replicas"),
    (OneLetterCode, "ACDEFGHIKLMNPQRSTVWY"),
    (Sha256, "0f" * 32),
    (Seed, 2**63 - 1),
    (Count, 10**15),
    (Budget, 1),
    (Kelvin, 25.0),
    (AskedKelvin, 310.0),
    (Seconds, 0.0),
    (Text, ""),
    (Text, "x" * MOST_TEXT),
]
WRONG: list[tuple[Any, Any]] = [
    (Name, ""),
    (Name, ".hidden"),
    (Name, "../up"),
    (Name, "a/b"),
    (Name, "a\\b"),
    (Name, "md\n"),
    (Name, "méthode"),
    (Name, " md"),
    (Name, "x" * 101),
    (OneLetterCode, "aa"),
    (OneLetterCode, ""),
    (OneLetterCode, "AA\n"),
    (Sha256, "0F" * 32),
    (Sha256, "0f" * 31),
    (Seed, -1),
    (Seed, 2**63),
    (Count, -1),
    (Count, 10**15 + 1),
    (Budget, 0),
    (Kelvin, 0.0),
    (Kelvin, math.inf),
    (Seconds, -1e-9),
    (Seconds, math.nan),
    (Text, "two\nlines"),
    (Text, "\x1b[2J"),
    (Text, "right to left \u202e"),
    (Text, "x" * (MOST_TEXT + 1)),
    (SomeText, ""),
]


@pytest.mark.parametrize(("field", "value"), RIGHT)
def test_what_can_be_is_taken_as_it_is(field: Any, value: Any) -> None:
    assert TypeAdapter(field).validate_python(value) == value


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_what_cannot_be_is_refused(field: Any, value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(field).validate_python(value)


def test_a_temperature_in_celsius_is_refused_with_the_one_in_kelvin() -> None:
    with pytest.raises(ValidationError, match=r"37 is not between 200 and 100000 kelvin; 37 .* are 310.15 K"):
        TypeAdapter(AskedKelvin).validate_python(37.0)


def nested(depth: int) -> dict[str, Any]:
    inside: Any = 1
    for _ in range(depth):
        inside = {"a": inside}
    return dict(inside)


def test_settings_come_as_they_are() -> None:
    settings = {"a": None, "b": [1, 2.5, True], "c": {"d": "ü"}, "e": -(2**64) + 1, "f": ()}
    assert TypeAdapter(Settings).validate_python(settings) == settings
    assert TypeAdapter(Settings).validate_python(nested(MOST_NESTING)) == nested(MOST_NESTING)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (nested(MOST_NESTING + 1), "must not be nested more than 16 deep"),
        ({"a": [math.nan]}, "finite numbers alone"),
        ({"a": {"b": -math.inf}}, "finite numbers alone"),
        ({"a": 2**64}, "no whole number of more than 64 bits"),
        ({"a": -(2**64)}, "no whole number of more than 64 bits"),
        ({"a": "\ud800"}, "texts of at most 100,000 characters"),
        ({"a": "x" * 100_001}, "texts of at most 100,000 characters"),
        ({"x" * 100_001: 1}, "texts of at most 100,000 characters"),
        ({"a": {1: 2}}, "names for keys"),
        ({"a": b"raw"}, "not bytes"),
        ({"a": {"b": {3, 4}}}, "not set"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_no_file_could_hold_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TypeAdapter(Settings).validate_python(settings)


def test_any_text_becomes_one_line_of_what_can_be_printed() -> None:
    assert one_line(" a\tb\r\n c\x00d\u2028e ") == "a b c d e"
    assert one_line("x" * MOST_TEXT) == "x" * MOST_TEXT
    cut = one_line("x" * (MOST_TEXT + 1))
    assert (len(cut), cut[-3:]) == (MOST_TEXT, "x …")
    TypeAdapter(Text).validate_python(one_line("\x1b]8;;\ud800" * 5000))


class _Inner(BaseModel):
    steps: int


class _Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    friction: float
    kelvin: AskedKelvin = 310.0
    parts: list[_Inner] = []


def fault(content: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as wrong:
        _Outer.model_validate(content)
    return explained(wrong.value)


def test_the_first_fault_is_said_with_its_place() -> None:
    assert fault({"friction": 1.0, "parts": [{"steps": 1}, {"steps": "many"}]}).startswith("parts.1.steps: ")
    assert fault({"friction": 1.0, "kelvin": 25.0}).startswith("kelvin: 25 is not between")


def test_a_misspelt_key_is_called_unknown_and_not_its_right_name_missing() -> None:
    assert fault({"frictoin": 1.0}) == "unknown key 'frictoin'"


def test_no_key_of_a_stranger_fills_the_terminal() -> None:
    said = fault({"friction": 1.0, "\x1b[2J" + "x" * 5000: 1})
    assert said.isprintable()
    assert len(said) < 130
