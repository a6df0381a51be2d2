"""Names and limits that records, files and tables share. Nothing heavy is imported here: whoever reads them loads no
engine."""

PUBLISHED_KELVIN = 310.0
"""The temperature in kelvin of the published protocol. The name of a peptide does not mention it."""

MOST_EVALUATIONS = 10**15
"""The largest budget that can be asked for, in energy evaluations. It is a second of molecular dynamics, or
thirty years of a machine that does a million frames a second."""

LEAST_KELVIN, MOST_KELVIN = 200.0, 1e5
"""The bounds in kelvin of a temperature that can be asked for. A lower number was probably meant in degrees
Celsius. Records may hold other temperatures."""

EXTERNAL = "external"
"""The method of cells whose frames were made by programs that are not run here. Their costs are declared, not
metered."""

FLOOR = "reference-draw"
"""The method that draws frames from the reference. Its row is the floor of every distance: what a perfect
sampler scores."""

CEILING = "first-frame"
"""The row of one frame that is repeated over and over: the score of a sampler that never leaves the frame it
begins with."""


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
