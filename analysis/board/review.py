"""What was looked at when results were reviewed: kept beside them, and shown on the board."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prosebench.store.fields import Count, Text, explained
from prosebench.store.storage import DamagedFile, read_json, write_json

FILE = "review.json"


class CellReview(BaseModel):
    """What a review found of one finished cell.

    frames with finite coordinates, and how many of them are distinct. weights: "recomputed" where log-weights followed
    again from settings, seed and frames, "as declared" where nothing but a rerun could tell, "none" of an unweighted
    ensemble. rerun: what running the cell again gave ("the same bytes", "the same costs"), empty where it was not. of
    these, and the record that was looked at, by the SHA-256 of its ensemble.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ensemble_sha256: Text
    frames: Count
    distinct: Count
    weights: Literal["recomputed", "as declared", "none"]
    rerun: Text = ""


class Review(BaseModel):
    """Reviews of the cells of a run, by cell id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    cells: Annotated[dict[str, CellReview], Field(max_length=1_000_000)] = {}

    def keeping(self, earlier: "Review") -> "Review":
        """This review, with what an earlier one ran again of the same ensembles."""
        cells = {}
        for cell_id, now in self.cells.items():
            before = earlier.cells.get(cell_id)
            if before and before.ensemble_sha256 == now.ensemble_sha256 and not now.rerun:
                now = now.model_copy(update={"rerun": before.rerun})
            cells[cell_id] = now
        return Review(cells=cells)


def review_text(seen: Sequence[CellReview]) -> str:
    """What reviews say of the cells of a row; empty where nobody reviewed one."""
    if not seen:
        return ""
    again = Counter(one.rerun for one in seen if one.rerun)
    ran = " and ".join(f"{number} gave {text}" for text, number in sorted(again.items())) or "none"
    said = [f"of {len(seen)} reviewed cells, run again at review: {ran}"]
    weighted = Counter(one.weights for one in seen if one.weights != "none")
    said += [f"weights {text} in {number}" for text, number in sorted(weighted.items())]
    frames, distinct = (
        sum(counts) for counts in zip(*((one.frames, one.distinct) for one in seen), strict=True)
    )
    if distinct < frames:
        said.append(f"{1.0 - distinct / frames:.1%} of the frames repeat another")
    return "; ".join(said)


def read_review(folder: Path) -> Review:
    """The review of a kept run; of one that nobody reviewed, one without cells. Raises DamagedFile."""
    path = folder / FILE
    try:
        return Review.model_validate(read_json(path))
    except FileNotFoundError:
        return Review()
    except ValidationError as error:
        raise DamagedFile(f"{path} is not a review: {explained(error)}") from error


def write_review(folder: Path, review: Review) -> None:
    """Keep a review beside the run."""
    write_json(folder / FILE, review.model_dump(mode="json"))
