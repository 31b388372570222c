"""Memories: one parameter-free model of memory access per file."""

from sam.memory.base import Field, Memory
from sam.memory.sam import SAMControls, SAMMemory, SAMState

__all__ = ["Field", "Memory", "SAMControls", "SAMMemory", "SAMState"]
