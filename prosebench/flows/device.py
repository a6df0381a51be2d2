"""The device of torch that a network computes on."""

import torch


def choose_device(name: str | None = None) -> str:
    """A device by its name, such as cpu or cuda:1; without one, the first GPU where there is one.

    Raises ValueError for a device that torch does not know or this machine does not have.
    """
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # torch built without CUDA raises an AssertionError.
        raise ValueError(
            f"there is no device {name!r} here ({str(error).splitlines()[0][:80]}); give cpu, or cuda on a machine "
            "with a GPU"
        ) from error
    return name
