"""How much a LoRA in training adds to each block: where it learns, and whether it still grows."""

import math
import re

from .lora import LoraSet

_BLOCK = re.compile(r"blocks\.\d+")


def block_norms(lora: LoraSet) -> dict[str, float]:
    """By block ("blocks.0"), the Frobenius norm of what the LoRA adds to all of its layers; of layers outside by name.

    |s B A|^2 = s^2 sum(B^T B * A A^T): products of the size of the rank alone, never of the layer.
    """
    squares: dict[str, float] = {}
    for name, layer in lora.adapters().items():
        place = _BLOCK.match(name)
        where = place.group() if place else name
        squares[where] = squares.get(where, 0.0) + (layer.strength * layer.change.norm()) ** 2
    return {where: math.sqrt(square) for where, square in squares.items()}
