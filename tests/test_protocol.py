"""Every constant of the published protocol, with its source: a digit that slips is a different benchmark.

Sources: paper is Tan et al., "Amortized Sampling with Transferable Normalizing Flows", arXiv 2508.18175; code is what
its authors published with it; data is the dataset transferable-samplers/many-peptides-md.
"""

import math
from typing import Any

import numpy as np
import pytest

from analysis.metrics import jsd
from baselines.md import MD
from baselines.md_replicas import MDReplicas
from baselines.smc import SMCMALA, SMCULA
from baselines.tbg import TBG
from jobs.making import reference_plan, references
from prosebench.ecnf.config import load_size as ecnf_size
from prosebench.energy.settings import TargetSettings
from prosebench.energy.target import LangevinSettings, kt_kj_mol
from prosebench.flows.flow import TRAINING_TEMPERATURE_KELVIN
from prosebench.frames import tica
from prosebench.frames.importance import PUBLISHED_FILTER_FRACTION, RELIABLE_PARETO_K
from prosebench.method import load_method
from prosebench.prose.config import load_size
from prosebench.prose.self_improvement import ProseSelfImprove
from prosebench.prose.trainable import augment
from prosebench.reference import published
from prosebench.suite import load_suite
from prosebench.training.recipe import load_recipe

FORCE_FIELD = TargetSettings().force_field
IMPROVE, ULA, MALA = (
    kind.model_fields for kind in (ProseSelfImprove.Settings, SMCULA.Settings, SMCMALA.Settings)
)
RECIPE = load_recipe("prose-8aa")
PROSE, TARFLOW, ECNF = load_size("prose-8aa"), load_size("tarflow-8aa"), ecnf_size("ecnf++_up_to_4aa")
PLAN = reference_plan.ReferencePlan()
TESTS = {
    2: load_suite("dipeptides-30"),
    4: load_suite("tetrapeptides-30"),
    8: load_suite("octapeptides-30"),
}
VALIDATION = [load_suite(f"{name}-validation") for name in ("dipeptides", "tetrapeptides", "octapeptides")]

CONSTANTS: list[tuple[str, Any, Any, str]] = [
    # Target
    ("force field", FORCE_FIELD.files, ("amber14-all.xml", "implicit/obc1.xml"), "paper, appendix on data"),
    ("cutoff", FORCE_FIELD.cutoff_nm, 2.0, "code: nonbondedCutoff of 2 nm"),
    ("temperature", TargetSettings().temperature_kelvin, 310.0, "paper, appendix on data"),
    ("temperature of the training data", TRAINING_TEMPERATURE_KELVIN, 310.0, "paper, appendix on data"),
    ("kT at 310 K in kJ/mol", round(kt_kj_mol(310.0), 6), 2.577483, "CODATA 2018"),
    # Molecular dynamics
    ("bath", LangevinSettings().temperature_kelvin, 310.0, "paper, appendix on data"),
    ("friction", LangevinSettings().friction_per_ps, 0.3, "paper, appendix on data"),
    ("time step", LangevinSettings().time_step_fs, 1.0, "paper, appendix on data"),
    ("friction of md", MD.Settings().friction_per_ps, 0.3, "paper, appendix on data"),
    ("time step of md", MD.Settings().time_step_fs, 1.0, "paper, appendix on data"),
    ("warm-up of md", MD.Settings().warm_up_ps, 50.0, "paper, appendix on data"),
    ("time step of md-replicas", MDReplicas.Settings().time_step_fs, 1.0, "as md"),
    # References
    ("interval of frames", reference_plan.FRAME_INTERVAL_PS, 10.0, "data: frames every 10 ps"),
    ("friction of references", references.FRICTION_PER_PS, 0.3, "as md"),
    ("lag of published references", published.PUBLISHED_LAG_FRAMES, 100, "code: lag of 100 frames"),
    (
        "lag of own references",
        PLAN.lag_ns * 1000 / reference_plan.FRAME_INTERVAL_PS,
        100.0,
        "as published ones",
    ),
    ("frames scored against", PLAN.n_frames // 2, 10_000, "paper: 1e4 reference frames"),
    ("TICA components", tica.N_COMPONENTS, 2, "code: dim = 2"),
    # Scores
    ("weight filter", PUBLISHED_FILTER_FRACTION, 0.002, "paper: the highest 0.2 % of weights are removed"),
    ("states of the divergence", jsd.N_STATES, 20, "code: k = 20"),
    ("limit of k-hat", RELIABLE_PARETO_K, 0.7, "Vehtari et al., J. Mach. Learn. Res. 25 (2024) 72"),
    # Self-improvement
    ("rounds", IMPROVE["rounds"].default, 4, "paper, appendix on self-improvement"),
    ("steps of a round", IMPROVE["steps"].default, 250, "paper, appendix on self-improvement"),
    ("batch of a round", IMPROVE["tuning_batch"].default, 256, "paper, appendix on self-improvement"),
    (
        "learning rate of a round",
        IMPROVE["learning_rate"].default,
        5e-6,
        "paper, appendix on self-improvement",
    ),
    ("hold of the start model", IMPROVE["teacher"].default, 0.5, "code: 0.5 times the squared difference"),
    # Annealing
    ("steps of ULA", ULA["steps"].default, 100, "paper: 100 steps in continuous time"),
    ("length of ULA", ULA["epsilon"].default, 1e-5, "paper: eps = 1e-5"),
    ("steps of MALA", MALA["steps"].default, 50, "paper: 50 steps in discrete time"),
    ("length of MALA", MALA["epsilon"].default, 5e-4, "paper: eps = 5e-4"),
    ("adaptation of MALA", MALA["adapt"].default, 1.1, "code: times 1.1"),
    ("longer moves of MALA", MALA["longer_above"].default, 0.6, "code: above an acceptance of 0.6"),
    ("shorter moves of MALA", MALA["shorter_below"].default, 0.55, "code: below an acceptance of 0.55"),
    ("start of annealing", ULA["start_below_kt"].default, 100.0, "code: proposals below 100 kT"),
    ("filter at the start", ULA["start_filter"].default, 0.002, "code: the filter of the weights"),
    ("resampling", ULA["resampling"].default, "systematic", "paper: systematic resampling"),
    ("resampling at every step", ULA["ess_threshold"].default, 1.0, "code: every step"),
    # Flows
    ("tolerance of TBG", TBG.Settings.model_fields["tolerance"].default, 1e-4, "paper: atol = rtol = 1e-4"),
    ("divergence of TBG", TBG.Settings.model_fields["divergence"].default, "exact", "paper: exact trace"),
    ("ECNF++", (ECNF.layers, ECNF.channels), (9, 256), "code"),
    ("lengths of ECNF++", (ECNF.residues_min, ECNF.residues_max), (2, 4), "paper: up to 4 residues"),
    ("unit of ECNF++", ECNF.nm_per_unit, 0.28, "code: scale of up to 4 residues"),
    (
        "Prose",
        (PROSE.blocks, PROSE.layers_per_block, PROSE.channels, PROSE.head_dim),
        (8, 8, 384, 64),
        "paper",
    ),
    ("unit of Prose", PROSE.nm_per_unit, 0.35, "code: scale of up to 8 residues"),
    ("TarFlow", (TARFLOW.blocks, TARFLOW.layers_per_block, TARFLOW.channels), (8, 8, 384), "paper"),
    (
        "conditions of TarFlow",
        (TARFLOW.conditioning, TARFLOW.transition, TARFLOW.lookahead),
        ("additive", False, False),
        "code",
    ),
    # Training
    ("iterations", RECIPE.steps, 500_000, "paper: 5e5 iterations"),
    ("batch", RECIPE.data.batch * RECIPE.data.batches, 512, "paper"),
    ("learning rate", RECIPE.optimiser.learning_rate, 1e-4, "paper"),
    ("betas", RECIPE.optimiser.betas, (0.9, 0.95), "code"),
    ("weight decay", RECIPE.optimiser.weight_decay, 4e-4, "paper"),
    ("clipping", RECIPE.optimiser.clip_norm, 1.0, "paper"),
    ("warm-up of the rate", RECIPE.optimiser.warm_up, 0.05, "code: 5 %"),
    ("first and last rate", RECIPE.optimiser.divisor, 500.0, "code: lr / 500"),
    ("average of the weights", RECIPE.optimiser.ema, 0.999, "paper"),
    # Suites
    *(
        (f"budgets of {length} residues", suite.budgets, (10_000, 200_000, 1_000_000), "paper, Tables 2 to 4")
        for length, suite in TESTS.items()
    ),
    *(
        (f"frames of {length} residues", suite.frames, 10_000, "paper: 1e4 samples")
        for length, suite in TESTS.items()
    ),
    *(
        (f"peptides of {length} residues", len(suite.peptides), 30, "data: test set")
        for length, suite in TESTS.items()
    ),
    (
        "temperatures",
        load_suite("temperatures").temperatures_kelvin,
        (310.0, 393.0, 498.0, 631.0, 800.0),
        "paper",
    ),
    ("peptide of the temperatures", load_suite("temperatures").peptides, ("RLMM",), "paper"),
    ("budget of the temperatures", load_suite("temperatures").budgets, (200_000,), "paper"),
]


@pytest.mark.parametrize(
    ("name", "found", "published_value", "source"), CONSTANTS, ids=[one[0] for one in CONSTANTS]
)
def test_constants_are_the_published_ones(name: str, found: Any, published_value: Any, source: str) -> None:
    assert found == published_value, f"{name}: {source}"


def test_sets_of_peptides_share_none() -> None:
    """Test and validation peptides, and the ends of their lists as published."""
    ends = {2: ("AA", "YQ"), 4: ("ARIP", "WNMA"), 8: ("ANKSMIEA", "YFPHAGYT")}
    for length, suite in TESTS.items():
        assert (suite.peptides[0], suite.peptides[-1]) == ends[length]
        assert {len(one) for one in suite.peptides} == {length}
    tests = {one for suite in TESTS.values() for one in suite.peptides}
    validation = {one for suite in VALIDATION for one in suite.peptides}
    assert not tests & validation
    assert not validation & {"AA"}


def test_rows_of_the_paper_have_its_settings() -> None:
    """In a suite, too: a row without a suffix changes nothing but the weights that it names."""
    suite = load_suite("tetrapeptides-30")
    for row in ("md", "smc-ula", "smc-mala", "prose-self-improve"):
        method, settings = row, suite.methods[row]
        assert settings.get("method", row) == method
        fields = load_method(method).Settings.model_fields
        assert set(settings) <= {"weights", "proposal_settings", "max_budget"} & set(fields) | {"max_budget"}


def test_training_data_draw_their_centre_as_published() -> None:
    """Standard deviation of the centre 1/sqrt(atoms) in normalised units along each axis (paper, augmentation)."""
    atoms, rng = 25, np.random.default_rng(0)
    frames = np.zeros((4000, atoms, 3), np.float32)
    moved = augment(frames, np.full(4000, atoms), rng, orientation=None)
    centres = np.asarray(moved).mean(axis=1)
    assert centres.std() == pytest.approx(1 / math.sqrt(atoms), rel=0.04)
