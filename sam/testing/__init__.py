"""Contracts that memories, controllers and models of your own can be tested against.

    from sam.testing import MemoryContract

    class TestRing(MemoryContract):
        def make_memory(self):
            return RingMemory(memory_size=16, word_size=6)

pytest runs each property as a test of its own; one of them fails with a sentence that says which
property does not hold. All computation is in float64 on the CPU, where equal means equal to
`tolerance`. What a memory does not offer, such as `resize` or a trace, must be refused in one line.

Nothing here imports pytest. Classes under test must be defined at the top of a module, because
pickles name them.
"""

from sam.testing.contracts import ControllerContract, MemoryContract, ModelContract

__all__ = ["ControllerContract", "MemoryContract", "ModelContract"]
