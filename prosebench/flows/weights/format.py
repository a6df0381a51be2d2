"""How the weights of one kind of network are stored, found and read: bundled, published, or in a file.

What files look like is in `prosebench.flows.weights.files`. Each kind of flow has one `WeightFormat`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from torch import Tensor, nn

from prosebench.flows.sizes import load_config
from prosebench.flows.weights import files as weight_files
from prosebench.flows.weights.files import WeightsError
from prosebench.store.places import HUB_REVISION, HubFile
from prosebench.store.storage import file_sha256

Net = TypeVar("Net", bound=nn.Module)
Config = TypeVar("Config", bound=BaseModel)


@dataclass(frozen=True, eq=False)
class Weights(Generic[Net]):
    """A network in evaluation mode, and where its weights came from (file, SHA-256, maker's notes)."""

    network: Net
    source: dict[str, Any]


@dataclass(frozen=True, eq=False)
class WeightFormat(Generic[Net, Config]):
    """One kind of network, which has its config as `network.config`.

    kind says what it is, flow is the class that users load it by, bundled the folder of models that come with
    prosebench (`NAME.npz` each), sizes that of shipped sizes. whole are names that `save` keeps in float32 though it
    halves the others. What follows is of published files, where there are such: their places, by names of weights; a
    name that each of them has (anchor); ends of names of what no training changes (constants), and beginnings of what
    no result depends on (unused); the published name of one of our parameters; and keys of the config that a file's
    tables decide by their number of rows.
    """

    kind: str
    flow: str
    network: Callable[[Config], Net]
    config: type[Config]
    bundled: Path
    sizes: Path
    whole: Sequence[str] = ()
    published: Mapping[str, HubFile] = field(default_factory=dict)
    anchor: str = ""
    constants: Sequence[str] = ()
    unused: Callable[[Config], tuple[str, ...]] = lambda config: ()
    published_name: Callable[[str], str] = str
    rows: Mapping[str, str] = field(default_factory=dict)

    def load(
        self,
        name_or_path: str | Path,
        *,
        size: str | Path | None = None,
        revision: str = HUB_REVISION,
        cache: Path | None = None,
    ) -> Weights[Net]:
        """The weights of a bundled model, of a published one (from the hub, kept in a cache), or of a file.

        size tells what a published file holds, where its name does not: the name of a size, or a TOML file; our own
        `.npz` files know theirs. revision is a branch, tag or commit of the hub. Raises WeightsError, naming the first
        differences where a file does not fit.
        """
        name = str(name_or_path)
        if name in self.published:
            published = self.published[name]
            example = (
                f'{self.flow}.from_pretrained("{Path(published.file).name}"), or in a suite weights = "PATH"'
            )
            path = weight_files.download(published, revision, cache, example)
            return self._load_published(
                path, size or published.size, weight_files.hub_source(name, published, path)
            )
        found = self.file(name)
        if found is None:
            known = ", ".join([*self.names(), *self.published])
            raise WeightsError(f"there are no weights {name!r}; known: {known}, or the path of a file")
        if found.suffix == ".npz":
            if size:
                raise WeightsError(f"{name} knows its own size; leave size {str(size)!r} out")
            return self._load_own(found)
        if not self.published:
            raise WeightsError(f"{name} cannot be read: weights of {self.kind} are in .npz files alone")
        sizes = {Path(one.file).name: one.size for one in self.published.values()}
        size = size or sizes.get(found.name, next(iter(sizes.values())))
        return self._load_published(found, size, {"file": found.name, "sha256": file_sha256(found)})

    def save(self, path: Path, network: Net, notes: Mapping[str, Any], *, half: bool = False) -> str:
        """Write our own `.npz` (float16 where half, else float32), with notes for `Weights.source`; its SHA-256."""
        config: Any = network.config
        return weight_files.write_own(path, network, config, notes, half=half, whole=self.whole)

    def file(self, name_or_path: str | Path) -> Path | None:
        """The file of a bundled model, or the path of a file as it is; None where there is no such file."""
        return weight_files.file_of(name_or_path, self.bundled)

    def names(self) -> list[str]:
        """Names of the models that come with prosebench."""
        return weight_files.bundled_in(self.bundled)

    def from_published(self, state: Mapping[str, Tensor], config: Config, origin: str = "the state") -> Net:
        """A network with published weights. Raises WeightsError with the first names and shapes that differ.

        Numbers of rows of the tables are those of the state; everything else must be as the config says.
        """
        rows = {
            key: len(state[f"{name}.weight"]) for key, name in self.rows.items() if f"{name}.weight" in state
        }
        network = self._empty(config.model_copy(update=rows))
        names = {name: self.published_name(name) for name in network.state_dict()}
        given = {
            name: value
            for name, value in state.items()
            if name.rpartition(".")[2] not in self.constants and not name.startswith(self.unused(config))
        }
        weight_files.compare(given, self.to_published(network), origin)
        return _filled(network, {ours: given[theirs].float() for ours, theirs in names.items()})

    def to_published(self, network: Net) -> dict[str, Tensor]:
        """The weights of a network under their published names."""
        return {self.published_name(name): value for name, value in network.state_dict().items()}

    def read_state(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors of a published file by their published names, and which set; see `read_state` of the files."""
        return weight_files.read_state(path, self.anchor, self.kind, self.constants)

    def _load_published(self, path: Path, size: str | Path, source: dict[str, Any]) -> Weights[Net]:
        config = load_config(size, self.config, self.sizes)
        state, taken = self.read_state(path)
        return Weights(self.from_published(state, config, str(path)), source | taken)

    def _load_own(self, path: Path) -> Weights[Net]:
        state, config, source = weight_files.read_own(path, self.config)
        network = self._empty(config)
        weight_files.compare(state, network.state_dict(), str(path))
        return Weights(_filled(network, state), source)

    def _empty(self, config: Config) -> Net:
        with weight_files.Uninitialised():
            return self.network(config)


def _filled(network: Net, state: Mapping[str, Tensor]) -> Net:
    network.load_state_dict(state, assign=True)
    return network.eval()
