"""What the README and the page for method authors show works."""

import re
import tomllib
from pathlib import Path

from prosebench.contract import CHECKS, Case, moves_on_a_peptide
from prosebench.rows import check_suite
from prosebench.suite import Suite

HERE = Path(__file__).parent.parent
README = (HERE / "README.md").read_text()
(SAMPLE,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
FOR_AUTHORS = (HERE / "docs" / "start" / "method-author.md").read_text()
OWN_METHOD = (HERE / "docs" / "gallery" / "scripts" / "own_method.py").read_text()


def test_three_lines_sample_a_peptide() -> None:
    names: dict = {"__name__": "readme"}
    exec(SAMPLE.replace("1000", "20"), names)
    assert names["ensemble"].positions_nm.shape == (20, 23, 3)
    assert names["ensemble"].log_weights.shape == (20,)


def test_the_method_in_twenty_lines_holds_to_the_contract(tmp_path: Path) -> None:
    method = OWN_METHOD[OWN_METHOD.index("import numpy") : OWN_METHOD.index("# The contract, as")]
    names: dict = {"__name__": "gallery"}
    exec(method, names)
    for check in CHECKS:
        said = check(Case(names["Metropolis"], tmp_path, smallest_bias=0.35))
        if check is moves_on_a_peptide:
            distinct = re.match(r"(\d+) of 2000 frames of AA distinct", said)
            assert distinct
            assert 300 < int(distinct[1]) < 1200, (
                "of its moves on a dipeptide, some are to be accepted, and not all"
            )


def test_the_suite_for_method_authors_is_sound() -> None:
    text = next(
        block
        for block in re.findall(r"```toml\n(.*?)```", FOR_AUTHORS, re.DOTALL)
        if 'name = "mine"' in block
    )
    check_suite(Suite.model_validate(tomllib.loads(text)))
