"""Own training data: equilibrium frames of many peptides by parallel tempering, as shards that training reads.

The coldest level of tempering is an equilibrium sample that crosses between basins; its order in time does not matter
to a flow, so no plain MD follows, as it does for references.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from jobs.cells.display import Progress
from jobs.making.reference_plan import ReferencePlan
from jobs.making.references import ensemble_path, run_cells, tempering_cell
from prosebench.energy.settings import TargetSettings
from prosebench.ensemble import Ensemble
from prosebench.peptide import Peptide
from prosebench.training.shards import refuse_excluded, write_shards


def make_training_data(
    sequences: Sequence[str],
    plan: ReferencePlan,
    settings: TargetSettings,
    directory: Path,
    out: Path,
    *,
    workers: int,
    watch_cells: Callable[[list[Path]], Progress],
) -> dict[str, int]:
    """Run what is missing in a run folder, then write the frames of all peptides to the folder `out`.

    At least plan.n_frames are kept of each peptide. Returns the number of frames of each peptide whose cell finished;
    as long as one did not, nothing is written. Raises ExcludedPeptide, before any work, for a peptide that results
    are reported on.
    """
    for sequence in sequences:
        refuse_excluded(sequence, "the list of training peptides")
    cells = [tempering_cell(sequence, plan, settings, plan.n_frames) for sequence in sequences]
    run_cells(cells, directory, workers, watch_cells)
    paths = {cell.peptide: ensemble_path(directory, cell) for cell in cells}
    ensembles = {sequence: Ensemble.load(path) for sequence, path in paths.items() if path.exists()}
    if len(ensembles) == len(sequences):
        write_shards(out, ensembles, [Peptide.from_sequence(s) for s in sequences], seed=plan.seed)
    return {sequence: len(ensemble) for sequence, ensemble in ensembles.items()}
