"""Sizes of Robin: what decides its shape, read from TOML."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from prosebench.flows.sizes import load_config

Positive = Annotated[int, Field(gt=0)]

SHIPPED = Path(__file__).parent / "sizes"


class RobinConfig(BaseModel):
    """Everything that decides the shape of the network and the units of its coordinates.

    hidden is the inner width of a block's SwiGLU: published, 2/3 of 4 channels. Coordinates are divided by nm_per_unit
    and fall into `bins` bins, whose centres go from lowest to highest in equal steps. Draws and densities divide the
    logits by logit_temperature. max_atoms is the number of atom indices that were learned, and so the longest frame;
    max_residues is the longest peptide that the weights were made for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""
    channels: Positive
    heads: Positive
    layers: Positive
    hidden: Positive
    bins: Annotated[int, Field(gt=1)]
    lowest: float = -4.5
    highest: float = 4.5
    logit_temperature: Annotated[float, Field(gt=0)] = 0.95
    nm_per_unit: Annotated[float, Field(gt=0)] = 0.35
    max_atoms: Positive = 256
    max_residues: Positive = 8
    atom_rows: Positive = 64
    residue_rows: Positive = 32
    sinusoid_base: float = 10_000.0

    @model_validator(mode="after")
    def _fits(self) -> "RobinConfig":
        if self.channels % self.heads or self.channels % 2:
            raise ValueError(
                f"channels ({self.channels}) must be even and a multiple of heads ({self.heads})"
            )
        if self.lowest >= self.highest:
            raise ValueError(f"lowest ({self.lowest}) must be below highest ({self.highest})")
        return self

    @property
    def step(self) -> float:
        """Distance between the centres of two bins, in units."""
        return (self.highest - self.lowest) / (self.bins - 1)


def load_size(name_or_path: str | Path) -> RobinConfig:
    """A shipped size by its name, or any by the path of its TOML file. Raises ConfigError for anything else."""
    return load_config(name_or_path, RobinConfig, SHIPPED)
