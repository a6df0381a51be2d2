"""A Boltzmann generator of one peptide: a flow trained on the peptide's own short dynamics, then weighted proposals.

So Boltzmann generators began (Noé et al., Science 2019, 365, eaaw1147): trained anew for every molecule. Beside
prose-snis, whose one flow serves all peptides, this shows what amortisation is worth. Dynamics, minimisation included,
takes at most `md_share` of the budget and is counted as preparation; proposals take the rest; together they cost the
budget. Frames count the evaluations of proposals alone.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from baselines.md_replicas import MDReplicas
from prosebench.energy.minimise import minimisation_limit
from prosebench.flows.device import choose_device, is_gpu, repeatable
from prosebench.flows.proposal import FlowProposal
from prosebench.flows.snis import weighted_proposals
from prosebench.method import Carry, Chunk, Method, MethodSettings, Run
from prosebench.prose.config import load_size, size_names
from prosebench.prose.flow import TRAINING_TEMPERATURE_KELVIN, CentreDensity, Prose
from prosebench.prose.network import Network
from prosebench.prose.snis import centre_weightings
from prosebench.prose.trainable import FlowLoss, augment
from prosebench.training.schedule import one_cycle

MD = "md."
"""The prefix of the names of arrays that the dynamics hands from chunk to chunk."""


class BoltzmannGenerator(Method):
    """A flow for this peptide alone: short dynamics, training on its frames, proposals with importance weights."""

    class Settings(MethodSettings):
        """md_share of the budget goes into `replicas` trajectories; the first discard of each is left out.

        size is that of the flow, which is trained by `steps` steps of AdamW, a one-cycle learning rate, on
        training_frames frames shifted at random, and turned at random or, for a size in local coordinates, into the
        narrow density of its orientations. Defaults are for minutes on one core, and far too few for
        a good flow: see `steps` and `size` where there is a GPU. com and batch are those of prose-snis.
        """

        md_share: float = Field(0.5, gt=0, lt=1)
        replicas: int = Field(8, gt=0)
        friction_per_ps: float = Field(2.0, gt=0)
        time_step_fs: float = Field(1.0, gt=0)
        minimise_steps: int = Field(200, ge=0)
        discard: float = Field(0.2, ge=0, lt=1)
        training_frames: int = Field(5000, gt=0)
        size: str = "bg-mini-local"
        steps: int = Field(200, gt=0)
        training_batch: int = Field(64, gt=0)
        learning_rate: float = Field(2e-3, gt=0)
        weight_decay: float = Field(4e-4, ge=0)
        clip_norm: float = Field(1.0, gt=0)
        com: CentreDensity = "gaussian"
        batch: int = Field(256, gt=0)
        chunk_steps: int = Field(50, gt=0)
        chunk_proposals: int = Field(1000, gt=0)

        @field_validator("size")
        @classmethod
        def _shipped(cls, size: str) -> str:
            # A name identifies a cell; the content of a file would have to be part of the settings.
            if size not in size_names():
                raise ValueError(f"unknown size {size!r}; known: {', '.join(size_names())}")
            return size

    settings: Settings
    # How much dynamics there is depends on the budget.
    prefixes = False
    contract_settings = {
        "size": "bg-mini",  # hardly trained, it is close to the wells
        "replicas": 2,
        "minimise_steps": 0,
        "steps": 3,
        "training_batch": 8,
        "learning_rate": 1e-5,
        "chunk_steps": 2,
        "chunk_proposals": 250,
    }
    contract_spread_nm = 0.9 * 0.21

    def skip(self, run: Run) -> str | None:
        """The budget must give at least one step to every trajectory."""
        least = self.settings.replicas + minimisation_limit(self.settings.minimise_steps)
        if self.preparation(run) < least:
            needed = int(np.ceil(least / self.settings.md_share))
            return f"a budget of {run.budgets[-1]} gives {self.settings.replicas} trajectories no step; {needed} would"
        return None

    def preparation(self, run: Run) -> int:
        """The evaluations that dynamics may take of the budget."""
        return int(self.settings.md_share * run.budgets[-1])

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """Some dynamics, some training, or some proposals, whatever comes next."""
        return (self._propose if self.prepared(carry) else self.prepare)(run, index, carry)

    def prepared(self, carry: Carry) -> bool:
        """See `prosebench.proposal.PreparedProposal`."""
        return self._simulated(carry) and int(carry["step"]) == self.settings.steps

    def prepare(self, run: Run, index: int, carry: Carry) -> Chunk:
        """Some dynamics, or, when it is over, some training."""
        return (self._train if self._simulated(carry) else self._simulate)(run, index, carry)

    def proposal(self, run: Run, carry: Carry) -> FlowProposal:
        """The trained flow as a start for annealing; see prosebench.proposal."""
        return FlowProposal(
            self._flow(run, carry), run.peptide, TRAINING_TEMPERATURE_KELVIN, self.settings.batch
        )

    def _simulated(self, carry: Carry) -> bool:
        return bool(carry) and not any(name.startswith(MD) for name in carry)

    def _simulate(self, run: Run, index: int, carry: Carry) -> Chunk:
        """A stretch of all trajectories; after the last one, the carry is that of training."""
        settings = self.settings
        shared = ("replicas", "friction_per_ps", "time_step_fs", "minimise_steps", "discard")
        dynamics = MDReplicas(
            MDReplicas.Settings.model_validate({name: getattr(settings, name) for name in shared})
        )
        theirs = {name.removeprefix(MD): value for name, value in carry.items() if name.startswith(MD)}
        steps = self.preparation(run) - minimisation_limit(settings.minimise_steps)
        as_md = replace(run, budgets=(steps,), frames=settings.training_frames)
        with run.meter.phase("preparation"):
            stretch = dynamics.chunk(as_md, index, theirs)
        parts = [carry["frames"]] if "frames" in carry else []
        parts += [stretch.ensemble.positions_nm] if stretch.ensemble is not None else []
        frames: Carry = {"frames": np.concatenate(parts)} if parts else {}
        if stretch.done:
            return Chunk(None, frames | {"step": np.array(0)})
        return Chunk(None, frames | {MD + name: value for name, value in stretch.carry.items()})

    def _train(self, run: Run, index: int, carry: Carry) -> Chunk:
        """Some steps of training; the carry holds weights and moments, and, until training is over, the frames."""
        device = choose_device()
        if is_gpu(device):
            # Exchanging gradients takes GPUs longer than computing them: the first rank trains for all.
            return run.ranks.of_first(lambda: self._trained(run, index, carry))
        return self._trained(run, index, carry)

    def _trained(self, run: Run, index: int, carry: Carry) -> Chunk:
        settings, first = self.settings, int(carry["step"])
        last = min(first + settings.chunk_steps, settings.steps)
        prose, rng = self._flow(run, carry), run.rng(index)
        network = prose.network.train()
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=settings.weight_decay
        )
        _set_moments(optimiser, network, carry)
        loss, tokens = FlowLoss(network), prose.tokens(run.peptide)
        orientation = network.config.orientation([run.peptide.topology])
        atoms, losses = np.full(settings.training_batch, run.peptide.n_atoms), list[torch.Tensor]()
        with run.meter.phase("training"), repeatable(prose.device):
            for step in range(first, last):
                chosen = carry["frames"][rng.integers(len(carry["frames"]), size=settings.training_batch)]
                x = torch.from_numpy(
                    augment(chosen / network.config.nm_per_unit, atoms, rng, orientation=orientation)
                )
                value = loss(x.to(prose.device), tokens).mean()
                value.backward()
                if torch.isfinite(nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)):
                    for group in optimiser.param_groups:
                        group["lr"] = one_cycle(step, settings.steps, settings.learning_rate)
                    optimiser.step()
                    losses.append(value.detach())
                optimiser.zero_grad(set_to_none=True)
        kept: Carry = {"weights": _numpy(parameters_to_vector(network.parameters())), "step": np.array(last)}
        if last < settings.steps:
            kept |= {"frames": carry["frames"]} | _moments(optimiser, network)
        return Chunk(
            None,
            kept,
            diagnostics={"training-loss": float(torch.stack(losses).double().mean())} if losses else {},
        )

    def _propose(self, run: Run, index: int, carry: Carry) -> Chunk:
        proposals = run.budgets[-1] - run.meter.ledger.preparation.evaluations
        chunk = weighted_proposals(
            self._flow(run, carry),
            run,
            index,
            carry,
            stream_proposals=self.settings.chunk_proposals,
            most=proposals - run.meter.spent,
            # The flow was trained at the temperature of the target, whatever that is.
            temperature_kelvin=TRAINING_TEMPERATURE_KELVIN,
            batch=self.settings.batch,
            weightings=partial(centre_weightings, com=self.settings.com),
        )
        kept = {name: carry[name] for name in ("weights", "step")}
        return replace(chunk, carry=kept | chunk.carry, done=run.meter.spent == proposals)

    def _flow(self, run: Run, carry: Carry) -> Prose:
        """The flow with the weights of the carry, or as it begins."""
        # Only the CPU's generator: that of each GPU would be made, read and written for nothing.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(run.random_key % 2**63)
            network = Network(load_size(self.settings.size))
        if "weights" in carry:
            vector_to_parameters(torch.from_numpy(carry["weights"]), network.parameters())
        return Prose(network)


def _moments(optimiser: torch.optim.AdamW, network: Network) -> Carry:
    """The optimiser's running means of gradients and of their squares, and its count of steps."""
    states = [optimiser.state[weight] for weight in network.parameters()]
    if not states[0]:
        return {}
    vectors = {name: _numpy(parameters_to_vector([state[name] for state in states])) for name in _MEANS}
    return vectors | {"optimiser-step": np.array(float(states[0]["step"]))}


def _set_moments(optimiser: torch.optim.AdamW, network: Network, carry: Carry) -> None:
    """Put back what `_moments` gave, if it is there."""
    if "optimiser-step" not in carry:
        return
    place = 0
    for weight in network.parameters():
        part = slice(place, place + weight.numel())
        state: dict[str, Any] = {
            name: torch.from_numpy(carry[name][part].copy()).view_as(weight).to(weight.device)
            for name in _MEANS
        }
        optimiser.state[weight] = state | {"step": torch.tensor(float(carry["optimiser-step"]))}
        place += weight.numel()


_MEANS = ("exp_avg", "exp_avg_sq")


def _numpy(vector: torch.Tensor) -> NDArray[np.float32]:
    return vector.detach().cpu().numpy()
