"""Compiled blocks: one graph for all layers, the same numbers, with adapters and with streamed weights."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from sakuga.core.errors import SakugaError
from sakuga.nn.compiled import check_compiler, compile_blocks
from sakuga.nn.transformer import WanTransformer
from sakuga.nn.weights import load_transformer
from streamed import SHAPE, gradients, inputs, trained, weights_file

CPU = torch.device("cpu")


def has_compiler() -> bool:
    try:
        check_compiler(CPU)
    except SakugaError:
        return False
    return True


@pytest.fixture(autouse=True)
def _fresh() -> None:
    torch._dynamo.reset()


def pair(folder: Path, streamed: int, kind: str | None = "fp8") -> tuple[WanTransformer, WanTransformer]:
    """The same model twice: as it is, and to be compiled."""
    path = weights_file(folder)
    models = [load_transformer(SHAPE, path, torch.float32, kind=kind, streamed=n) for n in (0, streamed)]
    for model in models:
        model.checkpointing = True
    return models[0], models[1]


def close(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> None:
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5 * b.abs().max().item() + 1e-9, rtol=0)


def test_all_layers_share_a_graph(tmp_path: Path) -> None:
    plain, model = pair(tmp_path, 3)
    counter = CompileCounterWithBackend("aot_eager")
    compile_blocks(model, counter)
    with torch.no_grad():
        y = plain(*inputs())
        for _ in range(2):
            torch.testing.assert_close(model(*inputs()), y, atol=1e-5, rtol=0)
    assert counter.frame_count == 1
    on_plain, adapters = trained(plain), trained(model)
    close(gradients(model, adapters), gradients(plain, on_plain))
    assert counter.frame_count == 3  # the first block's input has no gradient, the others' have
    with torch.no_grad():
        for strength in (1.0, 0.5):
            adapters.set_strength(strength)
            on_plain.set_strength(strength)
            torch.testing.assert_close(model(*inputs()), plain(*inputs()), atol=1e-5, rtol=0)
        adapters.remove(model)
        torch.testing.assert_close(model(*inputs()), y, atol=1e-5, rtol=0)


@pytest.mark.skipif(not has_compiler(), reason="inductor needs a C++ compiler")
def test_what_inductor_makes_is_the_same(tmp_path: Path) -> None:
    """Gradients too: those of an input in columns come out wrong, and of one in rows right."""
    plain, model = pair(tmp_path, 4)
    compile_blocks(model)
    close(gradients(model, trained(model)), gradients(plain, trained(plain)))


def test_more_sizes_than_torch_would_remember(tmp_path: Path) -> None:
    _, model = pair(tmp_path, 0, None)
    counter = CompileCounterWithBackend("eager")
    compile_blocks(model, counter)
    _, t, text = inputs()
    with torch.no_grad():
        for width in range(2, 13):
            model(torch.zeros(1, 16, 1, 2, 2 * width), t, text)
    assert counter.frame_count == 11


def test_only_blocks_are_compiled(tmp_path: Path) -> None:
    _, model = pair(tmp_path, 0, None)
    compile_blocks(model, "eager")
    compiled = {name for name, m in model.named_modules() if m._compiled_call_impl is not None}
    assert compiled == {f"blocks.{n}" for n in range(SHAPE.layers)}
    assert isinstance(model.head, nn.Module)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PATH", "")
    monkeypatch.setitem(os.environ, "CXX", "g++")
    with pytest.raises(SakugaError, match="compile needs a C\\+\\+ compiler, and none is found; install one"):
        check_compiler(CPU)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SakugaError, match="compile needs triton, which is not installed; install it"):
        check_compiler(torch.device("cuda"))
