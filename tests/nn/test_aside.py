"""Inputs of blocks in host memory: the same gradients to the bit, nothing held on the device, buffers used again."""

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from card import Card, Race, pretended
from sakuga.nn.aside import Aside
from sakuga.nn.transformer import WanTransformer
from sakuga.nn.weights import load_transformer
from streamed import SHAPE, gradients, inputs, trained, weights_file

CPU = torch.device("cpu")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    with pretended(monkeypatch) as found:
        yield found


def model_of(folder: Path, device: str = "cpu", streamed: int = 0, aside: bool = True) -> WanTransformer:
    model = load_transformer(SHAPE, weights_file(folder), torch.float32, device, None, streamed)
    model.checkpointing = True
    model.aside = Aside(torch.device(device)) if aside else None
    return model


def held(model: WanTransformer) -> Aside:
    assert isinstance(model.aside, Aside)
    return model.aside


@pytest.mark.parametrize("streamed", [0, 3])
def test_gradients_are_the_same_to_the_bit(tmp_path: Path, streamed: int) -> None:
    plain, model = model_of(tmp_path, aside=False), model_of(tmp_path, streamed=streamed)
    wanted = gradients(plain, trained(plain))
    adapters = trained(model)
    for _ in range(3):
        found = gradients(model, adapters)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
        assert len(held(model).free) == SHAPE.layers  # the buffers of the first step, given back


def test_no_input_stays_on_the_device(tmp_path: Path) -> None:
    """After a pass forward: those of a plain checkpoint are all there, here none."""
    alive = []
    for aside in (False, True):
        model, seen = model_of(tmp_path, aside=aside), list[weakref.ref[Tensor]]()
        trained(model)
        layer = model._layer

        def run(number: int, x: Tensor, *others: Any, layer: Any = layer, seen: Any = seen) -> Tensor:
            seen.append(weakref.ref(x))
            found: Tensor = layer(number, x, *others)
            return found

        model._layer = run  # type: ignore[method-assign]
        loss = model(*inputs()).sum()
        alive.append(sum(x() is not None for x in seen))
        loss.backward()
    assert alive == [SHAPE.layers, 0]


def test_smaller_samples_use_the_buffers_of_larger_ones(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    adapters = trained(model)
    x, t, text = inputs()
    for each in (x, x[:, :, :1], x):
        model(each, t, text).sum().backward()
        assert len(held(model).free) == SHAPE.layers
    assert adapters.parameters()


def test_a_pass_that_is_broken_off_gives_its_buffers_back(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    adapters = trained(model)
    wanted = gradients(model, adapters)
    velocity = model(*inputs())
    assert not held(model).free
    del velocity
    assert len(held(model).free) == SHAPE.layers
    assert all(torch.equal(a, b) for a, b in zip(gradients(model, adapters), wanted, strict=True))


def test_two_passes_forward_before_their_ways_back(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    adapters = trained(model)
    wanted = gradients(model, adapters)
    first, second = (model(*inputs()).square().mean() for _ in range(2))
    second.backward()
    first.backward()
    found = [parameter.grad for parameter in adapters.parameters()]
    assert all(b is not None and torch.equal(b, a + a) for a, b in zip(wanted, found, strict=True))


@pytest.mark.parametrize("streamed", [0, 3, 6])
def test_on_a_card_copies_and_blocks_are_in_order(tmp_path: Path, card: Card, streamed: int) -> None:
    model, plain = model_of(tmp_path, "cuda", streamed), model_of(tmp_path, aside=False)
    adapters = [trained(each) for each in (model, plain)]
    for _ in range(2):
        for each, where in ((model, "cuda"), (plain, "cpu")):
            each(*(given.to(where) for given in inputs())).square().mean().backward()
    for mine, wanted in zip(*(each.parameters() for each in adapters), strict=True):
        assert mine.grad is not None and torch.equal(mine.grad.cpu(), wanted.grad)
    assert all(buffer.device == CPU for buffer in held(model).free)


@pytest.mark.parametrize("fault", ["nothing is waited for on the way out", "nothing is waited for on the way back"])
def test_what_the_pretended_card_finds(tmp_path: Path, card: Card, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(tmp_path, "cuda")
    trained(model)
    if "out" in fault:
        monkeypatch.setattr(held(model).copies, "wait_stream", lambda other: None)
    else:
        monkeypatch.setattr(torch.cuda.Event, "record", lambda self, stream=None: None)
    with pytest.raises(Race):
        model(*(given.to("cuda") for given in inputs())).sum().backward()
