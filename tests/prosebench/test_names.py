"""Names of peptides at a temperature, and temperatures that a person can have meant."""

import math

import pytest

from prosebench.names import check_kelvin, name_at


@pytest.mark.parametrize(
    ("kelvin", "name"), [(310, "ARIP"), (310.0, "ARIP"), (393.0, "ARIP-393K"), (310.15, "ARIP-310.15K")]
)
def test_only_another_temperature_than_the_published_one_is_in_a_name(kelvin: float, name: str) -> None:
    assert name_at("ARIP", kelvin) == name


def test_two_temperatures_never_share_a_name() -> None:
    kelvins = [300.0, 310.0, 310.1, 311.0, 498.0, 1000.0]
    assert len({name_at("AA", kelvin) for kelvin in kelvins}) == len(kelvins)


@pytest.mark.parametrize("kelvin", [200.0, 310.0, 1e5])
def test_what_can_be_is_given_back(kelvin: float) -> None:
    assert check_kelvin(kelvin) == kelvin


@pytest.mark.parametrize(
    ("kelvin", "hint"),
    [(37.0, "310.15 K"), (-20.0, "253.15 K"), (199.0, "472.15 K"), (-150.0, ""), (1e6, ""), (math.nan, "")],
)
def test_degrees_celsius_are_recognised_where_they_can_be_meant(kelvin: float, hint: str) -> None:
    with pytest.raises(ValueError, match="is not between 200 and 100000 kelvin") as refused:
        check_kelvin(kelvin, "temperature_kelvin")
    said = str(refused.value)
    assert said.startswith(f"temperature_kelvin {kelvin:g} ")
    assert said.endswith(hint)
    assert ("Celsius" in said) == bool(hint)
