"""Where published files come from: a folder of one's own, the cache of the Hugging Face hub, and the hub itself."""

import os
import threading
from functools import lru_cache
from pathlib import Path

DATA_VARIABLE = "PROSEBENCH_DATA"
"""The environment variable that names a folder of published files, such as `prosebench fetch` fills."""

TIMEOUT_SECONDS = 5.0


class HubError(ValueError):
    """Published files that cannot be used as they are; the message says what to do."""


def first_line(error: BaseException) -> str:
    """Kind and first line of an error: a missing package, a cache that cannot be written, no such host."""
    return f"{type(error).__name__}: {error}".splitlines()[0].removesuffix(": ")


@lru_cache(maxsize=1)
def hub_problem() -> str | None:
    """Why the hub cannot be reached, or None; asked once a process, and never for longer than TIMEOUT_SECONDS.

    The client itself would try again for half a minute, and a name server that does not answer knows no timeout.
    """
    import huggingface_hub
    from huggingface_hub import constants

    answer: list[str | None] = []

    def ask() -> None:
        try:
            huggingface_hub.get_session().head(constants.ENDPOINT, timeout=TIMEOUT_SECONDS)
            answer.append(None)
        except Exception as error:
            # The client passes on what its HTTP library raises, and that library differs by version.
            answer.append(first_line(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(TIMEOUT_SECONDS + 1.0)
    return answer[0] if answer else f"no answer in {TIMEOUT_SECONDS:.0f} s"


def data_folder() -> Path | None:
    """The folder that PROSEBENCH_DATA names, or None where it is not set. Raises HubError where it is no folder."""
    value = os.environ.get(DATA_VARIABLE)
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise HubError(
            f"{DATA_VARIABLE} is {value}, which is not a folder; have it name one that `prosebench fetch` has filled, "
            "or leave it unset"
        )
    return folder
