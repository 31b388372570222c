"""SAM by its constructor."""

from typing import Literal

import torch

from index import IndexConfig
from sam.memory.sam import SAMMemory
from sam.models.assembly import ControllerName, FirstKeys, NamedNetwork


class SAM(NamedNetwork):
    """Sparse Access Memory (Rae et al. 2016): a memory of any size at a cost per step that does not
    depend on it. Defaults are those of the paper's benchmark and training (supplement C, E).

    Args:
        input_size: I.
        output_size: O; outputs are not squashed.
        hidden_size: units of the controller.
        memory_size: N, words; they take space when first written.
        word_size: W.
        num_heads: H, access heads; each reads and writes.
        top_k: K, words read a head.
        index: how the K nearest words are found: a name, or an `index.IndexConfig`.
        base: folder of a base, in one piece or in shards, over which every episode begins; see
            `MemoryNetwork.initial_state`.
        controller: "lstm", "gru" or "feedforward".
        num_layers: layers of the controller; see `StackedController`.
        access_threshold, shared_write, strength, renormalise, similarity, compiled: see
            `SAMMemory`.
        embedding_size: width of a linear embedding of the inputs, for one-hot ones; default none.
        image_size: side of an image that the first ``image_size**2`` inputs are; convolutions make
            `embedding_size` features of it, and leave the other inputs. See `ImageEmbedding`.
        dropout: of inputs and of what the output layer sees, in training; see `MemoryNetwork`.
        forget_bias: initial bias of an LSTM controller's forget gate; more keeps what it has read
            for longer before training.
        write_gate_bias: initial bias of the write gates, drawn near 0 without it; 2 writes .88 of
            each word before training.
        strength_bias: likewise of the strengths; more looks more sharply.
        interpolation_bias: likewise of the interpolation gates; -3 writes .95 of what is written to
            new words and hardly anything to those read last.
        first_keys: "like_words" lets the map to the keys begin as that to the words written, so
            that before training a step reads what was written when its controller was in a
            state like the present one; "drawn" draws the two apart.
        batch_first: inputs and outputs are [B, T, ...] instead of [T, B, ...].
        device, dtype: of the parameters; torch's defaults without them.

    Raises:
        ConfigError: a size is not positive, or `top_k` or `num_heads` exceeds `memory_size`.
        UnknownNameError: no such index or controller.
        FileNotFoundError, FileFormatError: there is no base in that folder, or a damaged one.

    Cost: see `SAMMemory`; the controller adds O(hidden_size (hidden_size + I + H W)) a step.
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
        top_k: int = 4,
        index: str | IndexConfig = "exact",
        base: str | None = None,
        controller: ControllerName = "lstm",
        num_layers: int = 1,
        access_threshold: float = 0.005,
        shared_write: bool = False,
        strength: Literal["oneplus", "softplus", "none"] = "oneplus",
        renormalise: bool = True,
        similarity: Literal["cosine", "euclidean"] = "cosine",
        compiled: bool | None = None,
        embedding_size: int | None = None,
        image_size: int | None = None,
        dropout: float = 0.0,
        forget_bias: float = 1.0,
        write_gate_bias: float | None = None,
        strength_bias: float | None = None,
        interpolation_bias: float | None = None,
        first_keys: FirstKeys = "drawn",
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        memory = SAMMemory(
            memory_size=memory_size,
            word_size=word_size,
            num_heads=num_heads,
            top_k=top_k,
            index=index,
            access_threshold=access_threshold,
            shared_write=shared_write,
            strength=strength,
            renormalise=renormalise,
            similarity=similarity,
            compiled=compiled,
        )
        super().__init__(
            input_size,
            output_size,
            memory,
            base=base,
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
            biases={
                "write_gates": write_gate_bias,
                "interpolation_gates": interpolation_bias,
                "strengths": strength_bias,
            },
            first_keys=first_keys,
        )
