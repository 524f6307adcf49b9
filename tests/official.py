"""The official Wan code as the oracle of parity tests: the package `wan22` (Apache-2.0), installed without its dependencies.

Its `__init__` modules pull in what does not install everywhere, so a submodule is loaded beside them; flash attention
is replaced by torch's own in fp32, which is what it computes. A missing oracle is an error, never a skip.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
import torch.nn.functional as F


def _attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, k_lens: torch.Tensor | None = None, **_: object
) -> torch.Tensor:
    """Attention over [B, L, heads, head_dim]; keys beyond `k_lens` do not count."""
    mask = None
    if k_lens is not None:
        mask = (torch.arange(k.shape[1])[None] < k_lens[:, None])[:, None, None]
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask)
    return out.transpose(1, 2)


def _package(name: str, path: str) -> None:
    module = ModuleType(name)
    module.__path__ = [path]
    sys.modules[name] = module


@contextmanager
def _pretended(*names: str) -> Iterator[None]:
    """Modules that the official code imports beside what is asked of it, for as long as it is loaded."""
    missing = [name for name in names if name not in sys.modules and importlib.util.find_spec(name) is None]
    sys.modules.update({name: ModuleType(name) for name in missing})
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


def official(name: str) -> ModuleType:
    """A submodule of the official code, `official("modules.model")` for instance."""
    if "wan" not in sys.modules:
        spec = importlib.util.find_spec("wan")
        if spec is None or not spec.submodule_search_locations:
            raise RuntimeError("the parity oracle is missing: pip install --no-deps wan22==2.2.11")
        root = spec.submodule_search_locations[0]
        _package("wan", root)
        for part in ("modules", "utils", "configs"):
            _package(f"wan.{part}", f"{root}/{part}")
        torch.cuda.current_device = lambda: "cpu"  # type: ignore[assignment,return-value]
        importlib.import_module("wan.modules.attention").flash_attention = _attention  # type: ignore[attr-defined]
    with _pretended("imageio", "torchvision"):
        return importlib.import_module(f"wan.{name}")
