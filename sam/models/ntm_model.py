"""NTM by its constructor."""

from typing import Literal

import torch

from sam.memory.ntm import NTMMemory
from sam.models.assembly import ControllerName, NamedNetwork


class NTM(NamedNetwork):
    """Neural Turing Machine (Graves et al. 2014): all words are read and written, by content and by
    location. Defaults are those of the paper's copy task: 128 words of 20, one head, 100 units
    (tables 1 and 2); shifts by up to one slot are its example in section 3.3.2.

    Args:
        input_size: I.
        output_size: O; outputs are not squashed.
        hidden_size: units of the controller.
        memory_size: N, words.
        word_size: W.
        num_heads: H read heads, and as many write heads.
        shift_range: S; a head moves by up to S slots a step, either way.
        controller: "lstm" (table 2), "gru" or "feedforward" (table 1).
        num_layers: layers of the controller; see `StackedController`.
        addressing, strength, initial_weights: see `NTMMemory`.
        embedding_size: width of a linear embedding of the inputs, for one-hot ones; default none.
        image_size: side of an image that the first ``image_size**2`` inputs are; convolutions make
            `embedding_size` features of it, and leave the other inputs. See `ImageEmbedding`.
        dropout: of inputs and of what the output layer sees, in training; see `MemoryNetwork`.
        forget_bias: initial bias of an LSTM controller's forget gate; more keeps what it has read
            for longer before training.
        batch_first: inputs and outputs are [B, T, ...] instead of [T, B, ...].
        device, dtype: of the parameters; torch's defaults without them.

    Raises:
        ConfigError: a size is not positive, or an option has no such value.
        UnknownNameError: no such controller.

    Cost: see `NTMMemory`; the controller adds O(hidden_size (hidden_size + I + H W)) a step.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 100,
        memory_size: int = 128,
        word_size: int = 20,
        num_heads: int = 1,
        shift_range: int = 1,
        controller: ControllerName = "lstm",
        num_layers: int = 1,
        addressing: Literal["location", "content"] = "location",
        strength: Literal["softplus", "oneplus"] = "softplus",
        initial_weights: Literal["first", "uniform"] = "first",
        embedding_size: int | None = None,
        image_size: int | None = None,
        dropout: float = 0.0,
        forget_bias: float = 1.0,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        memory = NTMMemory(
            memory_size=memory_size,
            word_size=word_size,
            num_heads=num_heads,
            shift_range=shift_range,
            addressing=addressing,
            strength=strength,
            initial_weights=initial_weights,
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
