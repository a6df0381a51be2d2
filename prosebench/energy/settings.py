"""Which physics, and which engine computes it."""

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from prosebench.energy.target import Target
from prosebench.peptide.force_field import ForceField
from prosebench.store.fields import Kelvin

if TYPE_CHECKING:
    from prosebench.peptide import Peptide


class TargetSettings(BaseModel):
    """The physics of a suite, and the engine that computes it.

    engine "batched" is our own kernel on a CPU, or, with device "cuda", on a GPU; "openmm" computes on `platform`. On a
    CPU, OpenMM's CPU platform takes over for a System that our kernel does not know, and where it is not built; the
    record says so. All of this decides numbers, so it is part of a cell's identity. Raises ValueError for what the
    engine would not heed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature_kelvin: Kelvin = 310.0
    force_field: ForceField = ForceField()
    engine: Literal["batched", "openmm"] = "batched"
    platform: str = "CPU"
    precision: Literal["single", "mixed", "double"] | None = None
    device: Literal["cpu", "cuda"] = Field(default="cpu", exclude_if=lambda device: device == "cpu")
    """The device that computes. It is left out of a cell's file if it is the CPU, so that cells from before
    there was a choice keep their identity."""

    @model_validator(mode="after")
    def _only_what_the_engine_heeds(self) -> "TargetSettings":
        if self.engine == "batched" and self.platform != "CPU":
            raise ValueError(
                f'platform {self.platform!r} is one of OpenMM\'s; it goes with engine = "openmm"'
            )
        if self.engine == "batched" and self.precision == "mixed":
            raise ValueError('engine = "batched" has precision "single" or "double"')
        if self.device == "cuda" and self.engine == "openmm":
            raise ValueError(
                'device = "cuda" goes with engine = "batched"; with OpenMM give platform = "CUDA"'
            )
        if self.device == "cuda" and self.precision == "double":
            raise ValueError('device = "cuda" has precision "single"')
        return self

    def on_cpu(self) -> "TargetSettings":
        """These settings with the same physics and engine, on a CPU."""
        return self.model_copy(update={"device": "cpu"})


def make_target(peptide: "Peptide", settings: TargetSettings, threads: int = 1) -> Target:
    """The target of a peptide as the settings describe it.

    Raises ValueError for a platform that is not there; on a GPU WarpUnavailable, and UnsupportedForce for a System that
    our kernel does not know: nobody who asks for a GPU gets a CPU.
    """
    # Engines are imported where they are used: a worker that needs one of them should not wait for all.
    from prosebench.energy.openmm import OpenMMEnergy

    platform, precision = settings.platform, settings.precision
    if settings.engine == "batched":
        from prosebench.energy.batched import BatchedEnergy
        from prosebench.energy.native import NativeUnavailable
        from prosebench.energy.parameters.terms import UnsupportedForce

        try:
            return BatchedEnergy(
                peptide,
                settings.temperature_kelvin,
                force_field=settings.force_field,
                precision=settings.precision or "single",
                threads=threads,
                device=settings.device,
            )
        except (UnsupportedForce, NativeUnavailable):
            if settings.device != "cpu":
                raise
            platform, precision = ("Reference" if settings.precision == "double" else "CPU"), None
    return OpenMMEnergy(
        peptide,
        settings.temperature_kelvin,
        force_field=settings.force_field,
        platform=platform,
        precision=precision,
        threads=threads,
    )
