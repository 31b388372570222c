"""One call over a sequence of SDNC's steps: what it has beside SAM's, and its backward pass.

All else is that of `sam.fast.sequence_run` and `sam.fast.sequence_op_backward`. Links get no
gradient: the tables change in place, and the backward pass needs nothing of them.
"""

from typing import Any, ClassVar

from sam.fast.array_views import as_arrays
from sam.fast.compiled_links import update_links
from sam.fast.loops import linked_sequence_backward, linked_sequence_forward
from sam.fast.loops.kernel_arrays import Scratch, Start, Weights
from sam.fast.loops.linked_arrays import LinkedSaved, LinkedSequence, Links
from sam.fast.sequence_op_backward import SequenceBackward
from sam.fast.sequence_run import Loops, Run


class LinkedRun(Run):
    """One call: its buffers, and the loop that fills them."""

    slots_saved: ClassVar[tuple[str, ...]] = ("slots", "near", "lru_slots")
    numbers_saved: ClassVar[tuple[str, ...]] = (
        *Run.numbers_saved,
        *("content", "parts", "found"),
    )

    saved_type: ClassVar[Any] = LinkedSaved

    def loops(self, start: Start, weights: Weights, scratch: Scratch) -> Loops:
        return LinkedLoops(self, start, weights, scratch)


class LinkedLoops(Loops):
    """The loops over the steps of one call, on the arrays of the memory and of the call."""

    kernels: ClassVar[Any] = linked_sequence_forward
    found: ClassVar[str] = "near"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        links: Any = self.request.links
        # p is renewed in tensors of its own, as a step makes new ones.
        self.precedence = links.precedence.clone()
        self.make_room()

    def make_room(self) -> None:
        links: Any = self.request.links
        links.reserve(self.views.room)
        arrays = *links.table.arrays(), *as_arrays(*self.precedence)
        self.links = Links(
            *arrays, decay_sources=links.decay_sources, sharpening=self.request.sharpening
        )

    @property
    def run(self) -> LinkedSequence:
        return LinkedSequence(*super().run, links=self.links)

    def commit_steps(self) -> None:
        super().commit_steps()
        links: Any = self.request.links
        links.precedence, links.last_update = self.precedence, update_links


class LinkedBackward(SequenceBackward):
    """The backward pass of one call."""

    unroll: ClassVar[Any] = staticmethod(linked_sequence_backward.unroll_backward)
    saved_type: ClassVar[Any] = LinkedSaved

    @property
    def settings(self) -> tuple[float, ...]:
        return *super().settings, self.ctx.sharpening

    def grad_rows(self, parts: dict[str, Any]) -> linked_sequence_backward.LinkedRows:
        return linked_sequence_backward.LinkedRows(
            parts["slots"], parts["near"], parts["lru_slots"], parts["start"]
        )
