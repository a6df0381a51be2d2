"""A sampler of your own: random-walk Metropolis in 20 lines, held to the contract and run on a real peptide."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure

from prosebench.contract import CHECKS, Case, name_of, outcome
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import Ensemble
from prosebench.method import Carry, Chunk, Method, MethodSettings, Run
from prosebench.reference import Reference, bundled_folder


class Metropolis(Method):
    """Random-walk Metropolis from the start structure."""

    class Settings(MethodSettings):
        step_nm: float = 0.0007  # accepts a third of the moves of a dipeptide

    contract_settings = {"step_nm": 0.01}  # the wells of the contract are wider than bonds are

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        rng, before = run.rng(index), run.meter.spent
        x, energy = carry.get("x", run.peptide.start_nm), carry.get("energy", np.inf)
        walk = []
        for _ in range(min(200, run.meter.remaining)):
            trial = x + self.settings.step_nm * rng.standard_normal(x.shape)
            trial_energy = run.meter.energy(trial[None])[0]
            if np.log(rng.random()) < energy - trial_energy:
                x, energy = trial, trial_energy
            walk.append((x, energy))
        frames, energies = map(np.array, zip(*walk, strict=True))
        spent = before + np.arange(1, len(walk) + 1)
        return Chunk(Ensemble(frames, energies, evaluations=spent), {"x": x, "energy": energy})


# The contract, as `prosebench check` runs it for a method that is installed, with coarser statistics.
with TemporaryDirectory() as scratch:
    case = Case(Metropolis, Path(scratch), smallest_bias=0.35)
    for check in CHECKS:
        passed, said = outcome(check, case)
        print(f"{'passed' if passed else 'FAILED'}  {name_of(check)}: {said}")

    # The same method on the energy of a real peptide, through a meter that stops it at 4,000 evaluations.
    target = make_target(case.peptide, TargetSettings())
    walk = case.trial((4_000,), target=target).frames(case.method(Metropolis.Settings()))

reference = Reference.load(bundled_folder() / "AA.npz").ensemble.energies_kt
low, high = np.quantile(reference, [0.05, 0.95])
print(f"mean energy of the last 1,000 frames: {walk.energies_kt[-1000:].mean():.0f} kT")
print(f"reference, 5 % to 95 %: {low:.0f} to {high:.0f} kT")

figure = Figure(figsize=(5.0, 3.0), layout="constrained")
axes = figure.subplots()
axes.axhspan(low, high, color="#bdbdbd", label="reference, 5 % to 95 %")
axes.plot(walk.evaluations, walk.energies_kt, color="#0072B2", linewidth=0.8, label="Metropolis")
axes.set(xlabel="energy evaluations", ylabel="energy (kT)", ylim=(low - 20, high + 20))
axes.legend(frameon=False)
figure.savefig("own_method.png", dpi=150)
