"""What the bases whose words lie in several shards say of themselves: what their manifest says."""

from pathlib import Path

from index.base.interface import Base
from index.base.manifest import Manifest
from index.metric import Metric
from index.storage import StorageName


class BaseInShards(Base):
    """A base in the folders of several shards.

    Attributes:
        path: of the folder that they lie in.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self._manifest = path, manifest
        self._num_words = manifest.num_words

    @property
    def num_words(self) -> int:
        return self._num_words

    @property
    def word_size(self) -> int:
        return self._manifest.word_size

    @property
    def dtype(self) -> StorageName:
        """How words are kept."""
        return self._manifest.dtype

    @property
    def metric(self) -> Metric:
        return self._manifest.metric

    @property
    def index(self) -> str:
        """The kind of the index of each shard."""
        return self._manifest.index

    @property
    def identity(self) -> str:
        """A text that no other base has; it stays the same however the words are cut."""
        return self._manifest.identity
