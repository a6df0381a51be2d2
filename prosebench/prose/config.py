"""Sizes of the flow: what decides its shape, read from TOML."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from prosebench.prose.orders import ORDER_KEYS
from prosebench.sizes import load_config, names_in

Positive = Annotated[int, Field(gt=0)]

SHIPPED = Path(__file__).parent / "sizes"


class ProseConfig(BaseModel):
    """Everything that decides the shape of a flow and the units of its coordinates.

    conditioning "adaptive" is Prose: what is known of a token scales and shifts every layer norm and scales
    every layer's output. "additive" is the plain TarFlow: it is added to the token once. lookahead shows a
    token the condition of the next one, too; transition adds a SwiGLU to every adaptive layer. orders are
    taken in turn by the blocks. Coordinates are divided by nm_per_unit; max_residues is the longest peptide
    that the flow was made for.
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
