"""Sizes of the flow: what decides its shape, read from TOML."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import mdtraj
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from prosebench.flows.molecule.orders import ORDER_KEYS
from prosebench.flows.sizes import load_config, names_in
from prosebench.frames.placement import Orientation

Positive = Annotated[int, Field(gt=0)]

ORIENTATION_STD_RAD = 0.1
"""The standard deviation in rad of the orientations that flows in local coordinates are trained in. It moves
the end of a bond much more than the bond stretches, and it is so small that the ends of bonds move along
nearly straight lines."""

SHIPPED = Path(__file__).parent / "sizes"


class ProseConfig(BaseModel):
    """Everything that decides the shape of a flow and the units of its coordinates.

    conditioning "adaptive" is Prose: what is known of a token scales and shifts every layer norm and scales
    every layer's output. "additive" is the plain TarFlow: it is added to the token before every layer. lookahead shows
    a token the condition of the next one, too; transition adds a SwiGLU to every adaptive layer. orders are
    taken in turn by the blocks. Coordinates are divided by nm_per_unit; max_residues is the longest peptide
    that the flow was made for. coordinates "local" puts the fixed map of
    `prosebench.flows.molecule.local_frames` before the blocks; the published flows are "cartesian".
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""
    channels: Positive
    head_dim: Positive
    blocks: Positive
    layers_per_block: Positive
    expansion: Positive = 4
    conditioning: Literal["adaptive", "additive"] = "adaptive"
    transition: bool = True
    lookahead: bool = True
    orders: Annotated[tuple[str, ...], Field(min_length=1)] = ORDER_KEYS
    atom_rows: Positive = 128
    residue_rows: Positive = 64
    residue_sinusoid_base: float = 1000.0
    position_sinusoid_base: float = 10_000.0
    nm_per_unit: Annotated[float, Field(gt=0)] = 0.35
    coordinates: Literal["cartesian", "local"] = "cartesian"
    max_residues: Positive = 8

    @field_validator("orders")
    @classmethod
    def _known_orders(cls, orders: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [key for key in orders if key not in ORDER_KEYS]
        if unknown:
            raise ValueError(f"unknown order {unknown[0]!r}; known are {', '.join(ORDER_KEYS)}")
        return orders

    @model_validator(mode="after")
    def _fits(self) -> "ProseConfig":
        if self.channels % self.head_dim or self.channels % 2:
            raise ValueError(
                f"channels ({self.channels}) must be even and a multiple of head_dim ({self.head_dim})"
            )
        if self.transition and self.conditioning == "additive":
            raise ValueError('a transition needs conditioning = "adaptive"; set transition = false')
        return self

    @property
    def heads(self) -> int:
        """Attention heads of a layer."""
        return self.channels // self.head_dim

    def orientation(self, topologies: Sequence[mdtraj.Topology], spread: float = 1.0) -> Orientation | None:
        """The density of orientations that a flow is trained in and drawn from, with a latent of variance `spread`, for
        frames of one topology or one a frame; None where it is uniform."""
        if self.coordinates == "cartesian":
            return None
        return Orientation.of(topologies, ORIENTATION_STD_RAD * math.sqrt(spread))

    @property
    def block_orders(self) -> tuple[str, ...]:
        """The order of each block."""
        return tuple(self.orders[i % len(self.orders)] for i in range(self.blocks))


def size_names() -> list[str]:
    """Names of the sizes that come with prosebench."""
    return names_in(SHIPPED)


def load_size(name_or_path: str | Path) -> ProseConfig:
    """A shipped size by its name, or any by the path of its TOML file. Raises ConfigError for anything
    else."""
    return load_config(name_or_path, ProseConfig, SHIPPED)
