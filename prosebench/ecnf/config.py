"""Sizes of the velocity field: what decides its shape, read from TOML."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from prosebench.flows.molecule.conditions import ATOM_TYPES, RESIDUE_TYPES
from prosebench.flows.sizes import load_config

Positive = Annotated[int, Field(gt=0)]

SHIPPED = Path(__file__).parent / "sizes"


class EcnfConfig(BaseModel):
    """Everything that decides the shape of a velocity field and the units of its coordinates.

    Peptides have residues_min to residues_max residues. coordinate_range bounds how strongly a pair of atoms can pull,
    summed over the layers. Coordinates are divided by nm_per_unit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""
    channels: Positive
    layers: Positive
    residues_min: Positive = 2
    residues_max: Positive = 4
    coordinate_range: Annotated[float, Field(gt=0)] = 15.0
    nm_per_unit: Annotated[float, Field(gt=0)] = 0.28

    @model_validator(mode="after")
    def _ordered(self) -> "EcnfConfig":
        if self.residues_max < self.residues_min:
            raise ValueError(
                f"residues_max ({self.residues_max}) must be at least residues_min ({self.residues_min})"
            )
        return self

    @property
    def lengths(self) -> int:
        """How many lengths of peptides there are."""
        return self.residues_max - self.residues_min + 1

    @property
    def features(self) -> int:
        """Numbers that a node starts with, the time not counted."""
        return len(ATOM_TYPES) + self.residues_max + len(RESIDUE_TYPES) + self.lengths


def load_size(name_or_path: str | Path) -> EcnfConfig:
    """A shipped size by its name, or any by the path of its TOML file. Raises ConfigError for anything else."""
    return load_config(name_or_path, EcnfConfig, SHIPPED)
