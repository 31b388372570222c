"""Writing files so that a reader, or a power cut, never meets half of one; see `index.files`."""

from index.files import atomic_file, write_atomic

__all__ = ["atomic_file", "write_atomic"]
