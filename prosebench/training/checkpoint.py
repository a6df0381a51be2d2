"""Checkpoints: everything a run needs to go on with the same numbers, in one file that is whole or absent."""

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prosebench.store.storage import DamagedFile, write_bytes
from prosebench.training.curve import Row
from prosebench.training.data import Position
from prosebench.training.optimiser import RunOptimiser
from prosebench.training.recipe import Recipe
from prosebench.training.schedule import Ema


@dataclass
class TrainingState:
    """How far a run is.

    It holds the steps done, where the stream of each process stands, the frames of all processes, the seconds
    of steps, the steps skipped because their gradient was not finite, the curve, losses and gradient norms of
    the steps of its next row, and what of the data was left out, with the reason (known to every process once
    it is stored).
    """

    positions: list[Position]
    step: int = 0
    frames: int = 0
    seconds: float = 0.0
    skipped: int = 0
    rows: list[Row] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)


def save_checkpoint(
    path: Path, recipe: Recipe, progress: TrainingState, module: nn.Module, ema: Ema, optimiser: RunOptimiser
) -> None:
    """Write a checkpoint over the one before."""
    content = {
        "recipe": recipe.model_dump_json(),
        "progress": json.dumps(asdict(progress)),
        "weights": dict(module.named_parameters()),
        "average": ema.average,
        "optimiser": optimiser.state_dict(),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


@torch.no_grad()
def load_checkpoint(
    path: Path, recipe: Recipe, module: nn.Module, ema: Ema, optimiser: RunOptimiser
) -> TrainingState:
    """Put the state of a checkpoint into module, ema and optimiser; returns how far it was.

    Raises DamagedFile where the file is damaged, ValueError where it was made with another recipe.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        made_with = json.loads(content["recipe"])
    except Exception as error:
        # torch raises many types for a file that is cut or of another kind.
        reason = str(error).partition(". ")[0]
        raise DamagedFile(f"{path} is not a checkpoint ({reason}); remove it to start anew") from error
    different = [key for key, value in recipe.model_dump(mode="json").items() if made_with.get(key) != value]
    if different:
        key = different[0]
        raise ValueError(
            f"{path} was made with another recipe: {key} was {made_with.get(key)} and is "
            f"{recipe.model_dump(mode='json')[key]}; give another folder, or remove the checkpoint"
        )
    for name, value in module.named_parameters():
        value.copy_(content["weights"][name])
        ema.average[name].copy_(content["average"][name])
    optimiser.load_state_dict(content["optimiser"])
    return _state(json.loads(content["progress"]))


def _state(content: dict[str, Any]) -> TrainingState:
    return TrainingState(**content | {"positions": [Position(**place) for place in content["positions"]]})
