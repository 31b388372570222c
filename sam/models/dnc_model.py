"""DNC by its constructor."""

from typing import Literal

import torch

from sam.memory.dnc import DNCMemory
from sam.models.assembly import ControllerName, NamedNetwork


class DNC(NamedNetwork):
    """Differentiable neural computer (Graves et al. 2016). Defaults are those of the paper's bAbI
    runs (Extended Data Table 2, setting 1), with the options of Csordas and Schmidhuber (2019) off.

    Args:
        input_size: I.
        output_size: O; outputs are not squashed.
        hidden_size: units of each layer of the controller.
        memory_size: N, words.
        word_size: W.
        num_reads: R, read heads.
        num_writes: V, write heads.
        controller: "lstm", "gru" or "feedforward".
        num_layers: layers of the controller, all of which drive the memory and the output, as in
            the paper's deep controller; see `StackedController`.
        masked, mask_floor, deallocate, sharpen_links, strength: see `DNCMemory`.
        embedding_size: width of a linear embedding of the inputs, for one-hot ones; default none.
        image_size: side of an image that the first ``image_size**2`` inputs are; convolutions make
            `embedding_size` features of it, and leave the other inputs. See `ImageEmbedding`.
        dropout: of inputs and of what the output layer sees, in training; see `MemoryNetwork`.
        forget_bias: initial bias of an LSTM controller's forget gate.
        batch_first: inputs and outputs are [B, T, ...] instead of [T, B, ...].
        device, dtype: of the parameters; torch's defaults without them.

    Raises:
        ConfigError: a size is not positive, or `mask_floor` is not in [0, 1) or is not 0 without
            `masked`.
        UnknownNameError: no such controller.

    Cost: see `DNCMemory`: time and bytes grow as the square of N. The controller adds
        O(hidden_size (hidden_size + I + R W)) a step.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 256,
        memory_size: int = 256,
        word_size: int = 64,
        num_reads: int = 4,
        num_writes: int = 1,
        controller: ControllerName = "lstm",
        num_layers: int = 1,
        masked: bool = False,
        mask_floor: float = 0.0,
        deallocate: bool = False,
        sharpen_links: bool = False,
        strength: Literal["oneplus", "softplus"] = "oneplus",
        embedding_size: int | None = None,
        image_size: int | None = None,
        dropout: float = 0.0,
        forget_bias: float = 1.0,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        memory = DNCMemory(
            memory_size=memory_size,
            word_size=word_size,
            num_reads=num_reads,
            num_writes=num_writes,
            strength=strength,
            masked=masked,
            mask_floor=mask_floor,
            deallocate=deallocate,
            sharpen_links=sharpen_links,
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
