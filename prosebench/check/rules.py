"""The rules of the contract that need no statistics: budgets, energies, restarts, seeds, prefixes, distinct frames."""

import json

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from prosebench.check.case import Case, ContractBroken, Trial, require
from prosebench.energy.settings import TargetSettings, make_target
from prosebench.ensemble import Ensemble
from prosebench.reference import bundled_folder
from prosebench.store.storage import arrays_bytes

SMALL_BUDGETS = (37, 500)
REAL_BUDGET = 2000
FROZEN_SHARE = 0.01
"""The smallest allowed share of distinct frames. A trajectory with fewer hardly moves, and gets nowhere
within the budgets of a suite."""


def settings_are_json(case: Case) -> str:
    """Settings survive JSON, and an unknown one is refused."""
    settings = case.method.Settings()
    again = case.method.Settings(**json.loads(json.dumps(settings.model_dump(mode="json"))))
    require(again == settings, f"settings change on their way through JSON: {settings} became {again}")
    try:
        case.method.Settings.model_validate({"no_such_setting": 1})
    except ValidationError:
        return f"{len(case.method.Settings.model_fields)} settings; an unknown one is refused"
    raise ContractBroken("an unknown setting is accepted; derive Settings from MethodSettings")


def skip_gives_a_reason(case: Case) -> str:
    """`skip` answers None or a sentence."""
    reason = case.skipped()
    require(
        reason is None or (isinstance(reason, str) and bool(reason.strip())),
        f"skip() returned {reason!r}; give None or a reason",
    )
    return f"skips: {reason}" if reason else "takes the case"


def budget_is_kept(case: Case) -> str:
    """Neither budget nor declared preparation is overspent, and frames say truthfully when they were there."""
    if case.skipped():
        return "skipped"
    kept = []
    for budget in (1, *SMALL_BUDGETS):
        trial = case.trial((budget,))
        method = case.fresh()
        if method.skip(trial.run):
            continue
        ensemble = trial.frames(method)
        require(trial.spent <= budget, f"spent {trial.spent} of {budget} evaluations")
        declared = method.preparation(trial.run)
        require(
            trial.prepared <= declared,
            f"spent {trial.prepared} evaluations of preparation, but preparation() declares {declared}",
        )
        _require_paid_frames(ensemble, trial)
        before = f" (and {trial.prepared} of {declared} declared for preparation)" if declared else ""
        kept.append(f"{budget}{before}")
    return f"budgets {', '.join(kept)} kept"


def _require_paid_frames(ensemble: Ensemble, trial: Trial) -> None:
    claims = ensemble.evaluations
    assert claims is not None, "check_chunk lets no frames without claims through"
    require(bool((np.diff(claims) >= 0).all()), "frames are not in order of `evaluations`")
    require(
        int(claims[-1]) <= trial.spent,
        f"a frame claims {claims[-1]} evaluations, but only {trial.spent} were spent",
    )
    require(
        len(ensemble) <= trial.spent,
        f"{len(ensemble)} frames came out of {trial.spent} evaluations: a frame that was not evaluated is none",
    )


def energies_belong_to_frames(case: Case) -> str:
    """Energies are those of the frames returned."""
    if case.skipped():
        return "skipped"
    ensemble = case.trial(SMALL_BUDGETS).frames(case.fresh())
    expected = case.target.energy(ensemble.positions_nm)
    off = np.isfinite(expected) != np.isfinite(ensemble.energies_kt)
    require(not off.any(), f"{int(off.sum())} frames have a finite energy or none, and say otherwise")
    finite = np.isfinite(expected)
    require(bool(finite.any()), "no frame has a finite energy")
    # Frames are kept in float32: a rounding of 1e-7 nm times gradients of a few hundred kT/nm a coordinate.
    worst = float(np.abs(ensemble.energies_kt - expected)[finite].max())
    require(worst < 1e-2, f"an energy is {worst:.3g} kT off that of its frame")
    return f"largest difference {worst:.1e} kT"


def chunks_resume(case: Case) -> str:
    """A new process may take over after any chunk: same numbers, bit for bit."""
    if case.skipped():
        return "skipped"
    undisturbed = case.trial(SMALL_BUDGETS).frames(case.fresh())
    resumed = case.trial(SMALL_BUDGETS).frames(case.fresh)
    require(
        _bytes(undisturbed) == _bytes(resumed),
        "a new object for each chunk gives other numbers: state outside of the carry",
    )
    return f"{len(undisturbed)} frames equal, bit for bit"


def seeds_are_honoured(case: Case) -> str:
    """Another cell gives other frames, the same cell the same."""
    if case.skipped():
        return "skipped"
    one, again, other = (
        case.trial(SMALL_BUDGETS, cell).frames(case.fresh()) for cell in ("one", "one", "other")
    )
    require(
        _bytes(one) == _bytes(again),
        "the same cell gives other frames the second time: some random number is not from Run.rng",
    )
    require(
        count_distinct(one) > 1 or len(one) == 1,
        f"all {len(one)} frames are one and the same, so nothing can be said of seeds: does it ever move?",
    )
    require(_bytes(one) != _bytes(other), "two cells give the same frames: the method ignores Run.rng")
    return "same cell, same frames; other cell, other frames"


def prefixes_are_prefixes(case: Case) -> str:
    """If a method says that small budgets are prefixes of large ones, a run of the small one alone gives the
    same frames."""
    if case.skipped() or not case.method.prefixes:
        return "does not apply"
    small, large = (
        case.trial(budgets).frames(case.fresh()) for budgets in (SMALL_BUDGETS[:1], SMALL_BUDGETS)
    )
    assert large.evaluations is not None
    mark = SMALL_BUDGETS[0]
    begun = large.select(large.evaluations <= mark)
    require(len(begun) > 0, f"no frame is there at the mark of {mark} evaluations")
    require(
        _bytes(begun) == _bytes(small),
        f"the {len(begun)} frames that a run of {SMALL_BUDGETS[1]} evaluations has at {mark} are not the {len(small)} "
        f"of a run of {mark}: set prefixes = False",
    )
    return f"{len(begun)} frames at {mark}, as in a run of {mark}; {len(large)} at {SMALL_BUDGETS[1]} evaluations"


def frames_are_single(case: Case) -> str:
    """No frame is stored twice for one evaluation, and frames stay the same only where the sampler did."""
    if case.skipped():
        return "skipped"
    ensemble = case.trial(SMALL_BUDGETS).frames(case.fresh())
    assert ensemble.evaluations is not None
    same = _same_as_before(ensemble)
    paid_once = same & (np.diff(ensemble.evaluations, prepend=-1) == 0)
    drawn = ensemble.log_weights is None and not case.method.prefixes
    require(
        drawn or not paid_once.any(),
        f"{int(paid_once.sum())} of {len(ensemble)} frames repeat the one before at the same evaluation",
    )
    lengths = np.diff(np.flatnonzero(np.append(~same, True)))
    # The last stay may have been cut by the end of the budget.
    times = int(np.gcd.reduce(lengths[:-1])) if len(lengths) > 10 else 1
    require(times == 1, f"every frame is stored {times} times, one after the other: store each once")
    return f"{count_distinct(ensemble)} of {len(ensemble)} frames distinct, none stored twice"


def moves_on_a_peptide(case: Case) -> str:
    """A trajectory moves on the force field with the method's own settings: as many frames differ as moves
    are accepted."""
    if case.method.contract_spread_nm is not None or not case.method.prefixes:
        return "does not apply"
    sequence = case.peptide.sequence
    trial = case.trial(
        (REAL_BUDGET,),
        target=make_target(case.peptide, TargetSettings()),
        reference_path=bundled_folder() / f"{sequence}.npz",
    )
    method = case.method(case.method.Settings())
    if method.skip(trial.run):
        return "skipped"
    ensemble = trial.frames(method)
    distinct = count_distinct(ensemble)
    require(
        distinct >= FROZEN_SHARE * len(ensemble),
        f"only {distinct} of {len(ensemble)} frames of {sequence} are distinct: it hardly ever moves; are its steps "
        "too long?",
    )
    return f"{distinct} of {len(ensemble)} frames of {sequence} distinct ({distinct / len(ensemble):.0%})"


def count_distinct(ensemble: Ensemble) -> int:
    """Frames that differ from the one before them."""
    return int((~_same_as_before(ensemble)).sum())


def _same_as_before(ensemble: Ensemble) -> NDArray[np.bool_]:
    """Which frames (n,) equal the one before. Frames at one evaluation, as those of replicas, may come in any
    order."""
    frames = ensemble.positions_nm
    same = (frames[1:] == frames[:-1]).all(axis=(1, 2))
    return np.concatenate([[False], same])


def _bytes(ensemble: Ensemble) -> bytes:
    return arrays_bytes(ensemble.arrays())
