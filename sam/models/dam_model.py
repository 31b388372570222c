"""DAM by its constructor."""

from typing import Literal

import torch

from sam.memory.dam import DAMMemory
from sam.models.assembly import ControllerName, NamedNetwork


class DAM(NamedNetwork):
    """Dense Access Memory (Rae et al. 2016, section 3.2): SAM with dense reads, and a usage that
    decays instead of times of access. It is SAM's control. Sizes are those of the paper's
    benchmark and training (supplement C, E), so that the two compare as they stand.

    Args:
        input_size: I.
        output_size: O; outputs are not squashed.
        hidden_size: units of the controller.
        memory_size: N, words; all of them take space from the start.
        word_size: W.
        num_heads: H, access heads; each reads and writes.
        controller: "lstm", "gru" or "feedforward".
        num_layers: layers of the controller; see `StackedController`.
        decay, shared_write, strength: see `DAMMemory`.
        embedding_size: width of a linear embedding of the inputs, for one-hot ones; default none.
        image_size: side of an image that the first ``image_size**2`` inputs are; convolutions make
            `embedding_size` features of it, and leave the other inputs. See `ImageEmbedding`.
        dropout: of inputs and of what the output layer sees, in training; see `MemoryNetwork`.
        forget_bias: initial bias of an LSTM controller's forget gate; more keeps what it has read
            for longer before training.
        batch_first: inputs and outputs are [B, T, ...] instead of [T, B, ...].
        device, dtype: of the parameters; torch's defaults without them.

    Raises:
        ConfigError: a size is not positive, or `num_heads` exceeds `memory_size`.
        UnknownNameError: no such controller.

    Cost: see `DAMMemory`; the controller adds O(hidden_size (hidden_size + I + H W)) a step.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 100,
        memory_size: int = 1024,
        word_size: int = 32,
        num_heads: int = 4,
        controller: ControllerName = "lstm",
        num_layers: int = 1,
        decay: float = 0.99,
        shared_write: bool = False,
        strength: Literal["oneplus", "softplus", "none"] = "oneplus",
        embedding_size: int | None = None,
        image_size: int | None = None,
        dropout: float = 0.0,
        forget_bias: float = 1.0,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        memory = DAMMemory(
            memory_size=memory_size,
            word_size=word_size,
            num_heads=num_heads,
            decay=decay,
            shared_write=shared_write,
            strength=strength,
        )
        super().__init__(
            input_size,
            output_size,
            memory,
            hidden_size=hidden_size,
            controller=controller,
            num_layers=num_layers,
            forget_bias=forget_bias,
            embedding_size=embedding_size,
            image_size=image_size,
            dropout=dropout,
            batch_first=batch_first,
            device=device,
            dtype=dtype,
        )
