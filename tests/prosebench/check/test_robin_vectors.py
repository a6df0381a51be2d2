import json
from pathlib import Path

import numpy as np
import pytest

from prosebench.check.robin_vectors import check_robin
from prosebench.flows.weights.files import WeightsError
from prosebench.store.storage import DamagedFile

FILE = Path(__file__).parents[2] / "conformance" / "robin_tiny.npz"


def test_published_numbers():
    checks = check_robin(FILE)
    assert [check for check in checks if not check.passed] == []
    assert {"AA bins", "KG log_p", "PS density of draws"} <= {check.quantity for check in checks}
    assert max(check.error / check.tolerance for check in checks if check.tolerance) < 0.2


def changed(path, name, value):
    arrays = dict(np.load(FILE))
    arrays[name] = value(arrays[name])
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("name", "value", "failed"),
    [
        ("KG/bins", lambda bins: bins + (np.arange(bins.shape[1]) == 5), {"KG bins"}),
        ("AA/log_p", lambda log_p: log_p + 0.01, {"AA log_p"}),
        (
            "state/global_cond_attn.in_proj_bias",
            lambda bias: bias + 0.01,
            {f"{sequence} log_p{of}" for sequence in ("AA", "KG", "PS") for of in ("", " of tokens")},
        ),
    ],
)
def test_a_wrong_number_is_found(tmp_path, name, value, failed):
    path = changed(tmp_path / "robin_x.npz", name, value)
    assert {check.quantity for check in check_robin(path) if not check.passed} == failed


def test_layers_that_the_file_lacks_are_named(tmp_path):
    def more(meta):
        return np.array(json.dumps(json.loads(str(meta)) | {"layers": 3}))

    with pytest.raises(WeightsError, match=r"lacks blocks\.2\."):
        check_robin(changed(tmp_path / "robin_x.npz", "meta", more))


def test_another_file_is_refused(tmp_path):
    (tmp_path / "robin_x.npz").write_bytes(b"nothing")
    with pytest.raises(DamagedFile):
        check_robin(tmp_path / "robin_x.npz")
