"""Memories: one parameter-free model of memory access per file."""

from sam.memory.protocol import Field, Memory
from sam.memory.sam import SAMMemory
from sam.memory.sam_state import SAMControls, SAMState

__all__ = ["Field", "Memory", "SAMControls", "SAMMemory", "SAMState"]
