"""Contracts that memories, controllers, models and tasks of your own can be tested against.

    from sam.testing import MemoryContract

    class TestRing(MemoryContract):
        def make_memory(self):
            return RingMemory(memory_size=16, word_size=6)

pytest runs each property as a test of its own. A test that fails says in a sentence which property
does not hold. Models compute in float64 on the CPU, where equal means equal to `tolerance`. What a
memory does not offer, such as `resize` or a trace, must be refused in one line.

Nothing here imports pytest. Classes under test must be defined at the top of a module, because
pickles name them. For an index see `index.testing`.
"""

from sam.testing.contracts import ControllerContract, MemoryContract, ModelContract
from sam.testing.task_contract import TaskContract

__all__ = ["ControllerContract", "MemoryContract", "ModelContract", "TaskContract"]
