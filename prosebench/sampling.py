"""Frames of a peptide by any method that is installed, without a suite, a run folder or a reference.

from prosebench import sample
ensemble = sample("ARIP", "md", budget=1_000_000)      # 1 ns of molecular dynamics
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from prosebench.energy.meter import BudgetExhausted, Meter
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import Ensemble, concatenate
from prosebench.method import Carry, Method, Run, check_chunk, load_method
from prosebench.names import check_kelvin
from prosebench.reference import known_reference
from prosebench.store.fields import explained

if TYPE_CHECKING:
    from prosebench.peptide import Peptide

DEFAULT_BUDGET, DEFAULT_FRAMES = 1_000_000, 10_000


class NotSampled(ValueError):
    """A method cannot do what it was asked for; the message says why."""


def sample(
    peptide: "str | Peptide",
    method: str = "md",
    *,
    budget: int = DEFAULT_BUDGET,
    frames: int = DEFAULT_FRAMES,
    temperature_kelvin: float = 310.0,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    threads: int = 1,
    watch: Callable[[int], None] = lambda spent: None,
) -> Ensemble:
    """Frames of a peptide, or of one by its sequence, by a method of `prosebench list methods`.

    budget counts energy evaluations of sampling; a step of MD is one. Of a trajectory about `frames` frames are kept,
    evenly spaced; flows give each proposal, with log-weights. The same arguments give the same frames. watch is told
    what has been spent after each chunk. Raises PeptideError, UnknownMethod, NotSampled where a setting is wrong or the
    method cannot do this peptide, or ValueError for a temperature that is probably in degrees Celsius.
    """
    from prosebench.peptide import Peptide

    known = Peptide.from_sequence(peptide) if isinstance(peptide, str) else peptide
    if budget < 1 or frames < 1:
        raise NotSampled(f"budget {budget} and frames {frames}: give at least 1 of each")
    check_kelvin(temperature_kelvin, "temperature_kelvin")
    one = make_method(method, settings or {})
    physics = TargetSettings(temperature_kelvin=temperature_kelvin)
    # Sorted, as in a cell: the order of the fields of a class decides no number.
    settings_text = json.dumps(one.settings.model_dump(mode="json"), sort_keys=True)
    name = f"{known.sequence} {method} {settings_text} {budget} {frames} {temperature_kelvin} {seed}"
    run = Run(
        cell_id=hashlib.sha256(name.encode()).hexdigest()[:16],
        peptide=known,
        meter=Meter(make_target(known, physics, threads), budget),
        budgets=(budget,),
        frames=min(frames, budget),
        reference_path=_reference(one, known.sequence, temperature_kelvin),
    )
    if reason := one.skip(run):
        raise NotSampled(f"{method} cannot sample {known.sequence}: {reason}")
    parts = _chunks(one, run, watch)
    if not parts:
        raise NotSampled(f"{method} gave no frame of {known.sequence} within {budget:,} evaluations")
    return concatenate(parts).of(known)


def make_method(name: str, settings: Mapping[str, Any]) -> Method:
    """A method with settings by name. Raises UnknownMethod, BrokenMethod, NotSampled for a wrong setting."""
    kind = load_method(name)
    try:
        return kind(kind.Settings(**settings))
    except ValidationError as error:
        known = ", ".join(kind.Settings.model_fields) or "none"
        raise NotSampled(f"settings of {name}: {explained(error)}; known: {known}") from error


def _reference(method: Method, sequence: str, temperature_kelvin: float) -> Path | None:
    """The reference for a control that looks at it; no sampler is given one."""
    return known_reference(sequence, (), temperature_kelvin) if method.needs_reference else None


def _chunks(method: Method, run: Run, watch: Callable[[int], None]) -> list[Ensemble]:
    """The frames of all chunks, each checked as a worker does."""
    parts: list[Ensemble] = []
    carry: Carry = {}
    done, index = False, 0
    while not done and run.meter.remaining:
        before = run.meter.spent
        try:
            with run.meter.phase("sampling"):
                chunk = method.chunk(run, index, carry)
        except BudgetExhausted:
            watch(run.meter.spent)
            break
        check_chunk(chunk, before, run.meter.spent, run.peptide.n_atoms)
        if chunk.ensemble is not None and len(chunk.ensemble):
            parts.append(chunk.ensemble)
        carry, done, index = dict(chunk.carry), chunk.done, index + 1
        watch(run.meter.spent)
    return parts
