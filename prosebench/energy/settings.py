"""Which physics, and which engine computes it."""

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from prosebench.energy.target import Target
from prosebench.peptide.force_field import ForceField
from prosebench.store.fields import Kelvin

if TYPE_CHECKING:
    from prosebench.peptide import Peptide


class TargetSettings(BaseModel):
    """The physics of a suite, and the engine that computes it.

    engine "batched" is our own kernel (OpenMM's CPU platform takes over for a System that it does not know, and the
    record says so); "openmm" computes on `platform`. All of this decides numbers, so it is part of a cell's identity.
    Raises ValueError for a platform or precision that the batched engine would not heed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature_kelvin: Kelvin = 310.0
    force_field: ForceField = ForceField()
    engine: Literal["batched", "openmm"] = "batched"
    platform: str = "CPU"
    precision: Literal["single", "mixed", "double"] | None = None

    @model_validator(mode="after")
    def _batched_on_the_cpu(self) -> "TargetSettings":
        if self.engine == "batched" and self.platform != "CPU":
            raise ValueError(
                f'platform {self.platform!r} is one of OpenMM\'s; it goes with engine = "openmm"'
            )
        if self.engine == "batched" and self.precision == "mixed":
            raise ValueError('engine = "batched" has precision "single" or "double"')
        return self


def make_target(peptide: "Peptide", settings: TargetSettings, threads: int = 1) -> Target:
    """The target of a peptide as the settings describe it. Raises ValueError for a platform that is not there."""
    # Engines are imported where they are used: a worker that needs one of them should not wait for all.
    from prosebench.energy.openmm import OpenMMEnergy

    if settings.engine == "batched":
        from prosebench.energy.batched import BatchedEnergy
        from prosebench.energy.parameters import UnsupportedForce

        try:
            return BatchedEnergy(
                peptide,
                settings.temperature_kelvin,
                force_field=settings.force_field,
                precision=settings.precision or "single",
                threads=threads,
            )
        except UnsupportedForce:
            pass
    return OpenMMEnergy(
        peptide,
        settings.temperature_kelvin,
        force_field=settings.force_field,
        platform=settings.platform,
        precision=settings.precision,
        threads=threads,
    )
