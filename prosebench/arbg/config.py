"""Sizes of the autoregressive flow: what decides its shape, read from TOML."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from prosebench.flows.sizes import load_config

Positive = Annotated[int, Field(gt=0)]

SHIPPED = Path(__file__).parent / "sizes"


class ArbgConfig(BaseModel):
    """Everything that decides the shape of the network.

    channels, head_dim, layers: of the transformer; expansion: width of its feed-forward part in channels.
    pair_channels: numbers that say where a placed atom is as seen from the next one (0: attention does not see
    positions). components: normals of a stiff coordinate; circle_components: wrapped normals of a dihedral that turns.
    residues: one-letter codes that the weights have been trained on, shortest and longest number of residues.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""
    channels: Positive = 128
    head_dim: Positive = 32
    layers: Positive = 6
    expansion: Positive = 2
    pair_channels: Annotated[int, Field(ge=0)] = 16
    pair_hidden: Positive = 32
    components: Positive = 3
    circle_components: Positive = 8
    max_residues: Positive = 8

    @model_validator(mode="after")
    def _fits(self) -> "ArbgConfig":
        if self.channels % self.head_dim:
            raise ValueError(f"channels ({self.channels}) must be a multiple of head_dim ({self.head_dim})")
        return self

    @property
    def heads(self) -> int:
        """Attention heads of a layer."""
        return self.channels // self.head_dim


def load_size(name_or_path: str | Path) -> ArbgConfig:
    """A shipped size by its name, or any by the path of its TOML file. Raises ConfigError for anything else."""
    return load_config(name_or_path, ArbgConfig, SHIPPED)
