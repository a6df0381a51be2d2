"""The force field of a target: which OpenMM files, which cutoff, and a hash of the System they give."""

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

# OpenMM is imported where it works: who only reads settings does not wait for it.
if TYPE_CHECKING:
    import openmm
    from openmm import app


@lru_cache(maxsize=8)
def _load(files: tuple[str, ...]) -> "app.ForceField":
    from openmm import app

    try:
        return app.ForceField(*files)
    except Exception as error:
        raise ValueError(
            f"cannot load the force field {files}: {error}; name files that OpenMM ships"
        ) from error


class ForceField(BaseModel):
    """Files and cutoff of a force field; the defaults are those of the published data.

    files are OpenMM force-field XML names, cutoff_nm (> 0, in nm) applies to non-bonded and GB terms alike.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[str, ...] = ("amber14-all.xml", "implicit/obc1.xml")
    cutoff_nm: float = Field(default=2.0, gt=0.0, allow_inf_nan=False)

    def create_system(self, openmm_topology: "app.Topology") -> "openmm.System":
        """System with `CutoffNonPeriodic`, no constraints, flexible, and no centre-of-mass motion remover.

        Raises ValueError when OpenMM finds no template for a residue or cannot load one of the files.
        """
        from openmm import app, unit

        return _load(self.files).createSystem(
            openmm_topology,
            nonbondedMethod=app.CutoffNonPeriodic,
            nonbondedCutoff=self.cutoff_nm * unit.nanometer,
            constraints=None,
            rigidWater=False,
            removeCMMotion=False,
        )


def system_hash(system: "openmm.System") -> str:
    """SHA-256 (hex) of the System's XML without the version of OpenMM: equal parameters, equal hash."""
    import openmm

    xml = re.sub(r' openmmVersion="[^"]*"', "", openmm.XmlSerializer.serialize(system), count=1)
    return hashlib.sha256(xml.encode()).hexdigest()
