import json
from pathlib import Path

import numpy as np
import pytest

from prosebench.check.prose_vectors import check_prose, check_tarflow
from prosebench.flows.weights.files import WeightsError
from prosebench.store.storage import DamagedFile

FOLDER = Path(__file__).parents[2] / "conformance"


@pytest.mark.parametrize("depth", ["tiny", "deep"])
@pytest.mark.parametrize(("name", "check"), [("prose", check_prose), ("tarflow", check_tarflow)])
def test_published_numbers(name, check, depth):
    """ "deep" has two layers a block: what is done before every layer shows there alone."""
    checks = check(FOLDER / f"{name}_{depth}.npz")
    assert [check for check in checks if not check.passed] == []
    assert {"padded z", "padded log_det"} <= {check.quantity for check in checks}
    assert max(check.error / check.tolerance for check in checks if check.tolerance) < 0.1


def changed(path, name, value):
    arrays = dict(np.load(FOLDER / "tarflow_tiny.npz"))
    arrays[name] = value(arrays[name])
    np.savez(path, **arrays)
    return path


def test_a_wrong_number_is_found(tmp_path):
    path = changed(tmp_path / "tarflow_x.npz", "inverse/AA/x", lambda x: x + 1e-3)
    failed = {check.quantity for check in check_tarflow(path) if not check.passed}
    assert {"AA x", "AA z"} <= failed <= {"AA x", "AA z", "AA log_det forward"}


def test_weights_that_do_not_fit_are_named(tmp_path):
    path = changed(tmp_path / "tarflow_x.npz", "state/blocks.1.proj_in.weight", lambda w: w[:, :2])
    with pytest.raises(WeightsError, match=r"blocks.1.proj_in.weight is \(64, 2\) and should be \(64, 3\)"):
        check_tarflow(path)


def test_two_blocks_where_three_are_said(tmp_path):
    def more(meta):
        content = json.loads(str(meta))
        return np.array(json.dumps(content | {"blocks": 3}))

    with pytest.raises(WeightsError, match=r"lacks blocks\.2\."):
        check_tarflow(changed(tmp_path / "tarflow_x.npz", "meta", more))


def test_another_file_is_refused(tmp_path):
    (tmp_path / "prose_x.npz").write_bytes(b"nothing")
    with pytest.raises(DamagedFile):
        check_prose(tmp_path / "prose_x.npz")
