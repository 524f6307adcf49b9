"""Regional compilation: every block of a transformer compiled, all with one graph.

Weights are inputs of the graph, so that one graph serves all layers, and streamed weights too; shapes are fixed, so that
each size of video has a graph of its own. Adapters are compiled with the Linears they stand on.
"""

import importlib.util
import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..core.errors import SakugaError

GRAPHS = 64  # sizes and sets of adapters that one process may meet; torch gives up after 8


def check_compiler(device: torch.device) -> None:
    """Raises SakugaError where what torch compiles with is not installed."""
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise SakugaError("compile needs triton, which is not installed; install it, or leave compile off")
    if device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++", "cl"))):
        raise SakugaError("compile needs a C++ compiler, and none is found; install one, or leave compile off")


def compile_blocks(model: nn.Module, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compiles each of `model.blocks` in place, when it first runs; torch itself keeps what was compiled before."""
    torch._dynamo.config.recompile_limit = max(GRAPHS, torch._dynamo.config.recompile_limit)
    for block in model.get_submodule("blocks").children():
        block.compile(dynamic=False, backend=backend)
