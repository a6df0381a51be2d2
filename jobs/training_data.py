"""Own training data: equilibrium frames of many peptides by parallel tempering, as shards that training reads.

The coldest level of tempering is an equilibrium sample that crosses between basins; its order in time does not matter
to a flow, so no plain MD follows, as it does for references.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from jobs.display import Progress
from jobs.references import ReferencePlan, ensemble_path, run_cells, tempering_cell
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
) -> list[str]:
    """Run what is missing in a run folder, then write the frames of all peptides to the folder `out`.

    plan.n_frames are kept of each peptide. Returns the peptides whose cells did not finish; as long as there is one,
    nothing is written. Raises ExcludedPeptide, before any work, for a peptide that results are reported on.
    """
    for sequence in sequences:
        refuse_excluded(sequence, "the list of training peptides")
    cells = [tempering_cell(sequence, plan, settings, plan.n_frames) for sequence in sequences]
    run_cells(cells, directory, workers, watch_cells)
    missing = [cell.peptide for cell in cells if not ensemble_path(directory, cell).exists()]
    if not missing:
        ensembles = {cell.peptide: Ensemble.load(ensemble_path(directory, cell)) for cell in cells}
        peptides = [Peptide.from_sequence(sequence) for sequence in sequences]
        write_shards(out, ensembles, peptides, seed=plan.seed)
    return missing
