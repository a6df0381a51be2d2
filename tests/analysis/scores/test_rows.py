from pathlib import Path

from analysis.figures.style import _FIXED as FIXED_LOOKS
from analysis.figures.style import looks
from analysis.scores.rows import KNOWN_ROWS, labels_of, plain_name, row_order
from prosebench.names import EXTERNAL
from prosebench.record import Cell
from tests.analysis.conftest import RunBuilder


def labels(*cells: Cell) -> list[str]:
    found = labels_of(cells)
    return [found[cell.id] for cell in cells]


def test_every_known_row_has_a_look_of_its_own() -> None:
    found = looks(KNOWN_ROWS)
    assert found == FIXED_LOOKS
    assert len({(look.colour, look.marker, str(look.line)) for look in found.values()}) == len(KNOWN_ROWS)


def test_rows_name_the_weights_they_draw_from(tmp_path: Path):
    run = RunBuilder(tmp_path)
    mini = run.cell(row="prose-snis", settings={"weights": "prose-mini"})
    file = run.cell(row="tarflow-snis", settings={"weights": "/data/weights/mine.npz"})
    annealed = run.cell(row="smc-mala", settings={"proposal_settings": {"weights": "prose-up-to-8aa"}})
    said = run.cell(row="prose-snis-prose-mini", settings={"weights": "prose-mini"})
    declared = run.cell(row="theirs", method=EXTERNAL, settings={})
    assert labels(mini, file, annealed, said, run.cell(), declared) == [
        "prose-snis (prose-mini)",
        "tarflow-snis (mine.npz)",
        "smc-mala (prose-up-to-8aa)",
        "prose-snis-prose-mini",
        "md",
        "theirs (declared)",
    ]


def test_a_row_keeps_the_look_of_its_method_whatever_its_label_adds():
    rows = ["prose-snis (prose-mini)", "prose-snis (prose-up-to-8aa)", "md", "md (declared)"]
    found = looks(rows)
    assert found[rows[0]].colour == found[rows[1]].colour == looks(["prose-snis"])["prose-snis"].colour
    assert found[rows[0]].marker != found[rows[1]].marker
    assert found["md (declared)"].colour not in {look.colour for row, look in found.items() if row != rows[3]}
    assert plain_name("prose-snis (prose-mini) [com=gaussian] at 400 K") == "prose-snis"
    assert row_order(rows)[:3] == [rows[0], rows[1], "md"]
