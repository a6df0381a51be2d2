"""The control: frames drawn from that part of the reference which scoring does not use.

No sampler of this length can do better than by chance; one that does is suspicious. Its row is the floor.
"""

import numpy as np
from numpy.typing import NDArray

from prosebench.ensemble import Ensemble
from prosebench.method import Carry, Chunk, Method, Run
from prosebench.reference import MissingReferenceError, Reference, missing_message


class ReferenceDraw(Method):
    """Draws without replacement, at most as many frames as are scored; each is evaluated and paid for."""

    needs_reference = True

    def skip(self, run: Run) -> str | None:
        """Without frames that scoring does not use there is nothing to draw.

        Raises MissingReferenceError where there is no reference at the temperature: one may be made yet, and a reason
        to skip would be final.
        """
        if run.reference_path is None:
            raise MissingReferenceError(missing_message(run.peptide.sequence))
        reference = Reference.load(run.reference_path)
        if reference.temperature_kelvin != run.meter.temperature_kelvin:
            raise MissingReferenceError(
                f"the reference of {run.peptide.sequence} is at {reference.temperature_kelvin:g} K, not at "
                f"{run.meter.temperature_kelvin:g} K; make one with `prosebench reference --temperature`"
            )
        return None if len(reference.spare) else "all frames of this reference are scored against"

    def marks(self, run: Run) -> NDArray[np.int64] | None:
        """See Method.marks: one evaluation a frame."""
        if run.reference_path is None:
            return None
        spare = Reference.load(run.reference_path).spare
        return np.arange(1, min(len(spare), run.frames, run.budgets[-1]) + 1)

    def chunk(self, run: Run, index: int, carry: Carry) -> Chunk:
        """Draw all frames in one chunk."""
        assert run.reference_path is not None, "skip() lets no run without a reference through"
        spare = Reference.load(run.reference_path).spare
        number = min(len(spare), run.frames, run.budgets[-1])
        frames = spare.positions_nm[run.rng(index).permutation(len(spare))[:number]]
        energies = run.meter.energy(frames)
        return Chunk(Ensemble(frames, energies, evaluations=np.arange(1, number + 1)), carry={}, done=True)
