"""Suites are checked before anything runs; what is wrong is named, with what would be right."""

from pathlib import Path

import pytest

from jobs.cells.plan import plan_cells
from prosebench.method import method_entry_points
from prosebench.rows import check_suite, method_settings
from prosebench.suite import SuiteError, load_suite, narrow, suite_names

MINE = """
name = "mine"
peptides = ["AA", "SS"]
budgets = [1000, 100]
[methods.md]
warm_up_ps = 1.0
[methods.fast]
method = "md"
friction_per_ps = 5.0
"""


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", suite_names())
def test_shipped_suites_are_sound(name: str) -> None:
    suite = load_suite(name)
    check_suite(suite)
    assert suite.name == name


def test_validation_and_test_peptides_do_not_meet() -> None:
    peptides = {name: set(load_suite(name).peptides) for name in suite_names()}
    validation = set().union(*(peptides[name] for name in peptides if name.endswith("-validation")))
    rest = set().union(*(peptides[name] for name in peptides if not name.endswith("-validation")))
    assert not validation & rest
    assert [len(peptides[name]) for name in sorted(peptides) if name.endswith("-30")] == [30, 30, 30]


PAPER = [name for name in suite_names() if not name.startswith(("quickstart", "temperatures", "md-friction"))]


@pytest.mark.parametrize("name", PAPER)
def test_a_suite_of_the_paper_has_its_rows_with_published_and_with_bundled_weights(name: str) -> None:
    rows = {row: method_settings(load_suite(name), row) for row in load_suite(name).methods}
    dynamics = {"md", "md-tuned", "md-replicas", "parallel-tempering"}
    flows = {"prose-snis", "prose-self-improve", "tarflow-snis", "tbg", "smc-ula", "smc-mala"}
    alone = {"reference-draw", "robin-snis", "arbg-snis", "md-flow"}
    assert rows.keys() == dynamics | flows | {f"{row}-mini" for row in flows} | alone
    assert rows["robin-snis"][1]["weights"] == "robin-up-to-8aa"
    assert rows["arbg-snis"][1]["weights"] == "arbg-small"
    for row in flows:
        (method, settings), (bundled_method, bundled) = rows[row], rows[f"{row}-mini"]
        assert method == bundled_method == row
        published, own = (one.get("proposal_settings", one)["weights"] for one in (settings, bundled))
        assert published.endswith(("up-to-8aa", "up-to-4aa"))
        assert own in {"prose-mini", "tarflow-mini", "tbg-mini"}
        differing = {key for key in settings if settings[key] != bundled[key]}
        assert differing <= {"weights", "weights_sha256", "extrapolate", "proposal_settings"}


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_carries_the_published_md_and_the_one_to_beat(name: str) -> None:
    suite = load_suite(name)
    published, tuned = (method_settings(suite, row) for row in ("md", "md-tuned"))
    assert published[0] == tuned[0] == "md"
    assert {key for key in tuned[1] if tuned[1][key] != published[1][key]} == {"friction_per_ps"}
    assert (published[1]["friction_per_ps"], tuned[1]["friction_per_ps"]) == (0.3, 2.0)


def test_the_suite_of_the_paper_has_every_test_peptide() -> None:
    parts = ("dipeptides-30", "tetrapeptides-30", "octapeptides-30", "extrapolation")
    assert load_suite("paper").peptides == tuple(one for part in parts for one in load_suite(part).peptides)


def test_published_settings_of_the_paper() -> None:
    suite = load_suite("paper")
    assert suite.budgets == (10_000, 200_000, 1_000_000)
    settings = {row: method_settings(suite, row)[1] for row in suite.methods}
    assert settings["md"]["friction_per_ps"] == 0.3
    assert settings["md-tuned"]["friction_per_ps"] > 1.0
    ula, mala, improve = settings["smc-ula"], settings["smc-mala"], settings["prose-self-improve"]
    assert (ula["steps"], ula["epsilon"], ula["start_filter"], ula["start_below_kt"]) == (
        100,
        1e-5,
        0.002,
        100,
    )
    assert (mala["steps"], mala["epsilon"], mala["adapt"]) == (50, 5e-4, 1.1)
    assert (mala["longer_above"], mala["shorter_below"], ula["resampling"]) == (0.6, 0.55, "systematic")
    # Four rounds and a last draw of 200,000 each.
    assert (improve["rounds"], suite.budgets[-1] // (improve["rounds"] + 1)) == (4, 200_000)
    assert (improve["steps"], improve["tuning_batch"], improve["learning_rate"]) == (250, 256, 5e-6)
    assert suite.row_budgets("tbg") == (10_000,)


def test_shared_rows_are_added_to_and_changed_one_setting_at_a_time(tmp_path: Path) -> None:
    text = MINE.replace("[methods.md]", 'rows = "paper"\n[methods.tbg]\nbatch = 7\n[methods.md]')
    mine, shared = load_suite(write(tmp_path, text)), load_suite("paper").methods
    assert mine.methods["tbg"] == shared["tbg"] | {"batch": 7}
    assert list(mine.methods) == [*shared, "fast"]
    with pytest.raises(SuiteError, match=r"no shared rows 'papers'; known: paper"):
        load_suite(write(tmp_path, text.replace('"paper"', '"papers"')))
    with pytest.raises(SuiteError, match=r"known keys: .*rows"):
        load_suite(write(tmp_path, "row = 1\n" + MINE))


def test_a_method_may_stand_twice(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, MINE))
    assert suite.budgets == (100, 1000)
    assert method_settings(suite, "fast")[0] == "md"
    assert method_settings(suite, "fast")[1]["friction_per_ps"] == 5.0
    assert method_settings(suite, "md")[1]["friction_per_ps"] == 0.3


def test_a_row_stops_at_its_max_budget(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, MINE + "max_budget = 100"))
    check_suite(suite)
    budgets = {row: {cell.budgets for cell in plan_cells(suite) if cell.row == row} for row in suite.methods}
    assert budgets == {"md": {(100, 1000)}, "fast": {(100,)}}
    same = load_suite(write(tmp_path, MINE))
    assert method_settings(suite, "fast") == method_settings(same, "fast")
    assert narrow(suite, budgets=[200]).row_budgets("fast") == (100,)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"SS"', '"SB"', "'SB'.*'B'"),
        ('"SS"', '"AA"', "named twice: AA"),
        ("budgets", "budget", "unknown key 'budget'"),
        ("[1000, 100]", "[1000, 0]", r"budgets\.1.*greater than 0"),
        ("[methods.md]", "[methods.mdd]", "unknown method 'mdd'; known: .*md"),
        ("warm_up_ps", "warmup", "unknown key 'warmup'; known settings: .*warm_up_ps"),
        (
            "friction_per_ps = 5.0",
            "max_budget = 1e3",
            r"methods\.fast.*max_budget is 1000.0, not a positive whole",
        ),
        ("friction_per_ps = 5.0", "friction_per_ps = -5.0", "methods.fast.*greater than 0"),
        ("name = ", "name : ", "not TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(SuiteError, match=said):
        check_suite(load_suite(write(tmp_path, MINE.replace(old, new))))


def test_unknown_suites_list_the_known_ones() -> None:
    with pytest.raises(SuiteError, match=r"unknown suite 'quick'; known: .*quickstart"):
        load_suite("quick")
    with pytest.raises(SuiteError, match="no suite file nowhere"):
        load_suite("nowhere.toml")


def test_narrowing(tmp_path: Path) -> None:
    suite = narrow(
        load_suite(write(tmp_path, MINE)),
        methods=["md", "reference-draw"],
        peptides=["SS"],
        budgets=[50],
        seeds=[3, 4],
        settings=["md.chunk_steps=7", "target.engine=openmm", "target.temperature_kelvin=393"],
    )
    assert (suite.peptides, suite.budgets, suite.seeds) == (("SS",), (50,), (3, 4))
    assert (
        method_settings(suite, "md")[1] | {"chunk_steps": 7, "warm_up_ps": 1.0}
        == method_settings(suite, "md")[1]
    )
    assert "reference-draw" in suite.methods
    assert (suite.target.engine, suite.target.temperature_kelvin) == ("openmm", 393)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"peptides": ["AA", "CC"]}, "no peptide CC; it has AA SS"),
        ({"settings": ["chunk_steps=7"]}, "not of the form row.key=value"),
        ({"settings": ["smc.steps=7"]}, "no row 'smc'; known: target, md, fast"),
        ({"settings": ["target.engine=gromacs"]}, "target.engine"),
        ({"budgets": [0]}, "budgets"),
    ],
)
def test_wrong_changes_are_named(tmp_path: Path, change: dict[str, list], said: str) -> None:
    with pytest.raises(SuiteError, match=said):
        narrow(load_suite(write(tmp_path, MINE)), **change)


def test_temperatures_stand_for_that_of_the_target(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, MINE))
    assert [target.temperature_kelvin for target in suite.targets] == [310.0]
    hot = narrow(suite, temperatures=[393, 498.5])
    assert [target.temperature_kelvin for target in hot.targets] == [393.0, 498.5]
    cells = plan_cells(hot)
    assert len(cells) == 2 * len(plan_cells(suite))
    assert len({cell.id for cell in cells}) == len(cells)
    with pytest.raises(SuiteError, match="temperatures of its own; name others with --temperature"):
        narrow(hot, settings=["target.temperature_kelvin=400"])
    with pytest.raises(SuiteError, match=r"temperatures_kelvin\.0: 0 is not between 200 and"):
        narrow(suite, temperatures=[0.0])
    with pytest.raises(SuiteError, match="named twice: 393"):
        narrow(suite, temperatures=[393, 393])


def test_the_temperatures_suite() -> None:
    suite = load_suite("temperatures")
    assert [target.temperature_kelvin for target in suite.targets] == [310.0, 393.0, 498.0, 631.0, 800.0]
    assert method_settings(suite, "prose-snis-naive")[1]["temperature"] == "naive"
    assert method_settings(suite, "prose-snis")[1]["temperature"] == "scaled"


def test_everything_installed_is_in_quickstart_all() -> None:
    suite = load_suite("quickstart-all")
    # Robin comes with no weights of ours.
    methods = {row: method_settings(suite, row)[0] for row in suite.methods}
    assert {*methods.values()} == {*method_entry_points()} - {"robin-snis"}
    assert [row for row, method in methods.items() if row != method] == ["md-tuned"]
