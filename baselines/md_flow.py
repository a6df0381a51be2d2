"""Dynamics of replicas, and between their stretches proposals of a flow that Metropolis accepts or rejects.

Dynamics moves within a basin, and a flow proposes the others: a replica in x goes to a draw x' with probability
min(1, w(x') / w(x)), w = exp(-E) / q, which leaves the target as it is, since draws do not depend on x (Gabrié,
Rotskoff and Vanden-Eijnden, PNAS 2022, 119, e2109420119). What a flow misses is left to dynamics.

Peptide bonds stay cis or trans as in the start structure, as in references of plain MD: no dynamics turns them, though
flows know both, and the target holds a few cis ones in a thousand.

Dynamics holds velocities of half a step before its positions, which know of the forces there. They are brought to the
time of the positions before a jump and half a step back after it, each with a kick of half a step; else every jump
would be followed by an oscillation of all fast modes.

One evaluation a step of each replica, one a draw, and two a round of each replica for the kicks.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from baselines.annealing import blocks, stream
from baselines.md_replicas import MDReplicas
from prosebench.energy.dynamics import evenly_spaced
from prosebench.energy.target import LangevinSettings, PhaseState, Stretch
from prosebench.ensemble import Ensemble, concatenate
from prosebench.frames.features import same_peptide_bonds
from prosebench.frames.geometry import fix_chirality
from prosebench.method import Carry, Chunk, Run
from prosebench.proposal import (
    Draws,
    PreparedProposal,
    Proposal,
    ProposalMethod,
    load_proposal,
    proposal_settings,
)

_DRAW, _PLACE, _ACCEPT = 1, 2, 3
"""The numbers of the purposes for which random numbers are drawn. Each purpose has random streams of its own."""
_NO_FRICTION_PER_PS = 1e-12


class MDFlow(MDReplicas):
    """Replicas that a flow takes from basin to basin."""

    class Settings(MDReplicas.Settings):
        """See MDReplicas; a round is md_steps steps and then `proposals` draws, for each replica.

        proposal: a method with samples and log-density (see prosebench.proposal), and its settings. Replicas begin at a
        minimum, too cold, and a small budget leaves each of them few steps: the thermostat is a strong one.
        """

        friction_per_ps: float = Field(20.0, gt=0)
        proposal: str = "arbg-snis"
        proposal_settings: dict[str, Any] = {}
        md_steps: int = Field(25, gt=0)
        proposals: int = Field(25, gt=0)

        @model_validator(mode="after")
        def _check_proposal(self) -> "MDFlow.Settings":
            completed = proposal_settings(self.proposal, self.proposal_settings)
            object.__setattr__(self, "proposal_settings", completed)
            return self

    settings: Settings
    contract_settings = {
        "proposal": "gaussian",
        "proposal_settings": {"std_nm": 0.04},
        "chunk_evaluations": 200,
        "friction_per_ps": 100.0,
        "replicas": 4,
        "md_steps": 20,
        "proposals": 5,
    }

    def skip(self, run: Run) -> str | None:
        """The reasons are: no proposal for the peptide, starts of another peptide, or a budget too small for
        a round."""
        if isinstance(self._source, PreparedProposal):
            return f"{self.settings.proposal} must be trained first, which this method leaves to others"
        if run.budgets[-1] < self._round_cost:
            return f"a budget of {run.budgets[-1]} is less than a round of {self._round_cost} evaluations"
        return super().skip(run) or self._source.skip(run)

    def marks(self, run: Run) -> NDArray[np.int64] | None:
        """See Method.marks: a frame may repeat another, where a draw was rejected."""
        return None

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """Some rounds, about chunk_evaluations long; chunk 0 also makes the starts."""
        proposal = self._source.proposal(run, {})
        if carry:
            state, done = PhaseState(carry["positions_nm"], carry["velocities_nm_ps"]), int(carry["round"])
            moved = carry["moved"]
        else:
            # Starts get the labels that draws have: dynamics does not change them, and a replica would keep
            # its own for ever.
            start = self._start(run)
            places = proposal.as_drawn(start.positions_nm, stream(run, _PLACE, 0, 0))
            state = PhaseState(np.asarray(places, dtype=np.float64), start.velocities_nm_ps)
            done, moved = 0, np.zeros(len(start.positions_nm), dtype=bool)
        total = run.budgets[-1] // self._round_cost
        last = min(done + max(1, self.settings.chunk_evaluations // self._round_cost), total)
        parts, accepted = list[Ensemble](), 0
        for number in range(done + 1, last + 1):
            state, frames, jumps = self._round(run, proposal, number, state)
            parts += frames
            moved, accepted = moved | (jumps > 0), accepted + int(jumps.sum())
        draws = (last - done) * self.settings.replicas * self.settings.proposals
        return Chunk(
            concatenate(parts) if parts else None,
            {
                "positions_nm": state.positions_nm,
                "velocities_nm_ps": state.velocities_nm_ps,
                "round": np.array(last),
                "moved": moved,
            },
            done=last == total,
            diagnostics={"flow-acceptance": accepted / draws, "never-moved": 1.0 - float(moved.mean())},
        )

    @cached_property
    def _source(self) -> ProposalMethod:
        return load_proposal(self.settings.proposal, self.settings.proposal_settings)

    @property
    def _round_cost(self) -> int:
        return self.settings.replicas * round_cost(self.settings.md_steps, self.settings.proposals)

    def _round(
        self, run: Run, proposal: Proposal, number: int, state: PhaseState
    ) -> tuple[PhaseState, list[Ensemble], NDArray[np.int64]]:
        """Round `number`, from 1: dynamics, then draws. The state after it, frames if any are due, and how often each
        replica (replicas,) went to a draw."""
        md_steps, replicas = self.settings.md_steps, self.settings.replicas
        keep, spent = self._kept(run, number), run.meter.spent
        kept_of_md = keep[keep <= md_steps]
        # Draws need the energies at the end of the stretch.
        result = self._stretch(
            run, state, md_steps, (number - 1) * md_steps, np.union1d(kept_of_md, [md_steps])
        )
        state, energies = result.state, result.energies_kt[-1]
        velocities = self._kicked(run, state)
        n_kept = len(kept_of_md)
        frames, frame_energies = list(result.frames_nm[:n_kept]), list(result.energies_kt[:n_kept])
        places = np.asarray(proposal.as_drawn(state.positions_nm, stream(run, _PLACE, number, 0)))
        drawn = self._draw(run, proposal, number)
        drawn_energies = run.meter.energy(drawn.frames_nm)
        log_weights = self._log_weights(proposal, drawn.frames_nm, drawn_energies, drawn.log_density)
        log_weights[~self._usable(run, proposal, drawn)] = -np.inf
        log_q = np.concatenate(
            run.ranks.map(lambda block: proposal.log_density(places[block]), blocks(replicas))
        )
        weight = self._log_weights(proposal, places, energies, log_q)
        # -1: where dynamics left it; else the draw that it went to.
        at = np.full(replicas, -1)
        jumps = np.zeros(replicas, dtype=np.int64)
        uniforms = stream(run, _ACCEPT, number, 0).random((self.settings.proposals, replicas))
        for which in range(self.settings.proposals):
            trial = which * replicas + np.arange(replicas)
            accepted = np.log(uniforms[which]) < log_weights[trial] - weight
            at, weight = np.where(accepted, trial, at), np.where(accepted, log_weights[trial], weight)
            jumps += accepted
            if md_steps + which + 1 in keep:
                frames.append(_chosen(at, drawn.frames_nm, state.positions_nm))
                frame_energies.append(_chosen(at, drawn_energies, energies))
        # The first kick has been paid for before the draws.
        paid = spent + replicas * np.where(keep > md_steps, keep + 1, keep)
        ensembles = [
            Ensemble(x, energy, evaluations=np.full(replicas, evaluations))
            for x, energy, evaluations in zip(frames, frame_energies, paid, strict=True)
        ]
        # Velocities at the time of the positions are independent of them: a replica that goes to a draw keeps
        # its own.
        positions = _chosen(at, drawn.frames_nm, state.positions_nm)
        back = -self._kicked(run, PhaseState(positions, -velocities))
        return PhaseState(positions, back), ensembles, jumps

    def _kicked(self, run: Run, state: PhaseState) -> NDArray[np.float64]:
        """Velocities (replicas, atoms, 3) in nm/ps, half a step of the forces later: those of one step of half the
        length, without friction, whose positions are left alone."""
        result = run.meter.langevin(
            state,
            Stretch(
                1,
                LangevinSettings(
                    run.meter.temperature_kelvin,
                    _NO_FRICTION_PER_PS,
                    self.settings.time_step_fs / 2,
                    self.settings.hydrogen_mass_dalton,
                ),
                run.random_key,
            ),
        )
        return result.state.velocities_nm_ps

    def _kept(self, run: Run, number: int) -> NDArray[np.int64]:
        """The steps or draws of a round, counted from 1, after which all replicas keep a frame."""
        rounds = run.budgets[-1] // self._round_cost
        discarded = int(self.settings.discard * rounds)
        if number <= discarded:
            return np.array([], dtype=np.int64)
        moments = (rounds - discarded) * (self.settings.md_steps + self.settings.proposals)
        schedule = evenly_spaced(moments, max(1, run.frames // self.settings.replicas))
        first = (number - discarded - 1) * (self.settings.md_steps + self.settings.proposals)
        inside = (schedule > first) & (schedule <= first + self.settings.md_steps + self.settings.proposals)
        return schedule[inside] - first

    def _draw(self, run: Run, proposal: Proposal, number: int) -> Draws:
        """All draws of a round: those of the first trial of all replicas, then those of the second, and so on."""
        n = self.settings.replicas * self.settings.proposals

        def draw(block: slice) -> Draws:
            return proposal.draw(block.stop - block.start, stream(run, _DRAW, number, block.start))

        drawn = run.ranks.map(draw, blocks(n))
        return Draws(
            np.concatenate([one.frames_nm for one in drawn]),
            np.concatenate([one.log_density for one in drawn]),
            {},
        )

    def _usable(self, run: Run, proposal: Proposal, drawn: Draws) -> NDArray[np.bool_]:
        """Which draws (n,) can be used: they have a density, and the handedness and peptide bonds (cis or
        trans) of the peptide."""
        usable = np.isfinite(drawn.log_density)
        if proposal.placement is not None:
            _, mirrored, wrong = fix_chirality(drawn.frames_nm, run.peptide.topology, run.peptide.start_nm)
            usable &= ~(mirrored | wrong)
            usable &= same_peptide_bonds(drawn.frames_nm, run.peptide.topology, run.peptide.start_nm)
        return usable

    def _log_weights(
        self,
        proposal: Proposal,
        frames_nm: NDArray[np.floating],
        energies_kt: NDArray[np.float64],
        log_q: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """log w (n,): -inf where the energy is not finite, +inf where the flow has no density."""
        placed = proposal.placement.energy_and_gradient(frames_nm)[0] if proposal.placement else 0.0
        with np.errstate(invalid="ignore"):
            log_weights = -energies_kt - placed - log_q
        return np.where(np.isfinite(energies_kt), log_weights, -np.inf)


def round_cost(md_steps: int, proposals: int) -> int:
    """Evaluations of a round of one replica: steps, draws, and the two kicks around them."""
    return md_steps + proposals + 2


def _chosen(at: NDArray[np.int64], draws: NDArray[Any], otherwise: NDArray[Any]) -> NDArray[Any]:
    """Rows chosen one by one: row at[i] of `draws`, or row i of `otherwise` where at[i] is -1."""
    went = (at >= 0).reshape(-1, *[1] * (draws.ndim - 1))
    return np.where(went, draws[np.maximum(at, 0)], otherwise)
