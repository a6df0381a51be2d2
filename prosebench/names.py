"""Names and limits that records, files and tables share. Nothing heavy is imported here: whoever reads them loads no
engine."""

PUBLISHED_KELVIN = 310.0
"""Temperature of the published protocol; it goes without saying in the name of a peptide."""

MOST_EVALUATIONS = 10**15
"""A second of molecular dynamics, or thirty years of a machine that takes a million frames a second."""

LEAST_KELVIN, MOST_KELVIN = 200.0, 1e5
"""Of temperatures that are asked for; below, a number is probably one of degrees Celsius. Records may hold others."""

EXTERNAL = "external"
"""Method of cells whose frames were made by programs that are not run here: their costs are declared, not metered."""

FLOOR = "reference-draw"
"""Method that draws frames from the reference: its row is the floor of every distance."""

CEILING = "first-frame"
"""Row of one frame over and over: what a sampler scores that never leaves the frame it was put at."""


def name_at(sequence: str, temperature_kelvin: float) -> str:
    """Name of a peptide at a temperature in kelvin: ARIP at the published 310 K, ARIP-393K at another."""
    return sequence if temperature_kelvin == PUBLISHED_KELVIN else f"{sequence}-{temperature_kelvin:g}K"


def check_kelvin(kelvin: float, what: str = "") -> float:
    """A temperature in kelvin, if it can be one of a peptide in water. Raises ValueError, which begins with `what`."""
    if LEAST_KELVIN <= kelvin <= MOST_KELVIN:
        return kelvin
    celsius = (
        f"; {kelvin:g} degrees Celsius are {kelvin + 273.15:g} K" if -100 < kelvin < LEAST_KELVIN else ""
    )
    said = f"{kelvin:g} is not between {LEAST_KELVIN:g} and {MOST_KELVIN:g} kelvin{celsius}"
    raise ValueError(f"{what} {said}" if what else said)
