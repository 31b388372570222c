"""The contracts: of models, of memories, of controllers."""

import torch
from torch import nn

from sam.cell import MemoryCell
from sam.controller import Controller, LSTMController
from sam.memory.dam import DAMMemory
from sam.memory.protocol import Memory
from sam.network import MemoryNetwork
from sam.testing.calls import Calls
from sam.testing.copies import Copies
from sam.testing.episodes import Episodes
from sam.testing.subject import require


class ModelContract(Calls, Episodes, Copies):
    """What every model does. A subclass in a test file gives `make_model`.

    The tests call the model as `MemoryNetwork.forward` says.
    """


class MemoryContract(ModelContract):
    """What every memory does, behind an LSTM controller. A subclass gives `make_memory`."""

    def make_memory(self) -> Memory:
        """A new memory; small ones are tested faster."""
        raise NotImplementedError(f"{type(self).__name__}: expected a method make_memory")

    def make_model(self) -> nn.Module:
        memory = self.make_memory()
        width = self.input_size + memory.num_reads * memory.word_size
        return MemoryNetwork(MemoryCell(LSTMController(width, 12), memory), self.output_size)

    def test_a_step_returns_words_and_a_state_of_the_same_class(self) -> None:
        cell = self.model().cell
        state = cell.memory.initial_state(self.batch_size, dtype=torch.float64)
        controls = cell.interface(self.inputs().new_zeros(self.batch_size, 12))
        words, after = cell.memory.step(controls, state)
        shape = self.batch_size, cell.memory.num_reads, cell.memory.word_size
        require(words.shape == shape, f"words read must be {[*shape]}, got {[*words.shape]}")
        require(words.dtype == torch.float64, "words must have the dtype of the state")
        require(type(after) is type(state), "a step must return a state of the same class")
        named = getattr(cell.memory, "State", None)
        require(named in (None, type(state)), "State must be the class of the states")


class ControllerContract(ModelContract):
    """What every controller does with a dense memory. A subclass gives `make_controller`."""

    def make_controller(self, input_size: int) -> Controller:
        """A new controller with inputs of this width."""
        raise NotImplementedError(f"{type(self).__name__}: expected a method make_controller")

    def make_model(self) -> nn.Module:
        memory = DAMMemory(memory_size=8, word_size=4, num_heads=2)
        controller = self.make_controller(self.input_size + 2 * 4)
        return MemoryNetwork(MemoryCell(controller, memory), self.output_size)
