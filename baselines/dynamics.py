"""What methods that run Langevin dynamics have in common."""

from pydantic import Field

from prosebench.energy.target import LangevinSettings
from prosebench.method import MethodSettings


class DynamicsSettings(MethodSettings):
    """How a start is minimised, and how dynamics goes on from there. Time step and masses are the published ones."""

    friction_per_ps: float = Field(0.3, gt=0)
    time_step_fs: float = Field(1.0, gt=0)
    hydrogen_mass_dalton: float | None = Field(None, gt=0)
    minimise_steps: int = Field(200, ge=0)

    def langevin(self, kelvin: float) -> LangevinSettings:
        """The dynamics at a temperature in kelvin."""
        return LangevinSettings(kelvin, self.friction_per_ps, self.time_step_fs, self.hydrogen_mass_dalton)
