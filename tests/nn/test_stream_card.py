"""Streamed blocks on a pretended card: every copy is waited for before it is read, every reader before it is written over."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from card import Card, Race, pretended
from sakuga.nn.stream import Stream
from sakuga.nn.transformer import WanTransformer
from sakuga.nn.weights import load_transformer
from streamed import SHAPE, inputs, trained, weights_file


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    with pretended(monkeypatch) as found:
        yield found


def velocity(model: WanTransformer, device: str) -> torch.Tensor:
    x, t, text = (given.to(device) for given in inputs())
    found: torch.Tensor = model(x, t, text)
    return found


def on_the_card(folder: Path, streamed: int, kind: str | None = None) -> WanTransformer:
    return load_transformer(SHAPE, weights_file(folder), torch.float32, "cuda", kind, streamed)


@pytest.mark.parametrize("kind", [None, "bf16", "fp8"])
@pytest.mark.parametrize("streamed", [1, 2, 3, 6])
def test_passes_without_gradients_in_a_row(tmp_path: Path, card: Card, streamed: int, kind: str | None) -> None:
    model = on_the_card(tmp_path, streamed, kind)
    resident = load_transformer(SHAPE, weights_file(tmp_path), torch.float32, "cpu", kind)
    with torch.no_grad():
        wanted = velocity(resident, "cpu")
        for _ in range(3):
            assert torch.equal(velocity(model, "cuda").cpu(), wanted)
    copies = [name for agent, name in card.issued if agent in card.streams]
    assert set(copies) == {"copy_"} and len(copies) >= streamed


@pytest.mark.parametrize("kind", [None, "fp8"])
@pytest.mark.parametrize("streamed", [1, 2, 3, 6])
def test_training_steps(tmp_path: Path, card: Card, streamed: int, kind: str | None) -> None:
    model = on_the_card(tmp_path, streamed, kind)
    resident = load_transformer(SHAPE, weights_file(tmp_path), torch.float32, "cpu", kind)
    adapters = [trained(each) for each in (model, resident)]
    assert {p.device.type for p in adapters[0].parameters()} == {"cuda"}
    for _ in range(2):
        for each, where in ((model, "cuda"), (resident, "cpu")):
            velocity(each, where).square().mean().backward()
    for mine, wanted in zip(*(each.parameters() for each in adapters), strict=True):
        assert mine.grad is not None and torch.equal(mine.grad.cpu(), wanted.grad)


def test_by_turns_with_and_without_gradients(tmp_path: Path, card: Card) -> None:
    model = on_the_card(tmp_path, 5)
    trained(model)
    for _ in range(2):
        velocity(model, "cuda").sum().backward()
        with torch.no_grad():
            velocity(model, "cuda")


FAULTS: dict[str, Callable[[Stream], None]] = {
    "a copy is not waited for": lambda stream: [setattr(event, "record", lambda s: None) for event in stream.copied],  # type: ignore[func-returns-value]
    "readers are not waited for": lambda stream: setattr(stream.copies, "wait_stream", lambda other: None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_the_pretended_card_finds(tmp_path: Path, card: Card, fault: str) -> None:
    model = on_the_card(tmp_path, 4)
    assert isinstance(model.stream, Stream)
    FAULTS[fault](model.stream)
    with pytest.raises(Race), torch.no_grad():
        for _ in range(2):
            velocity(model, "cuda")


def test_slots_that_are_let_go_while_a_copy_is_under_way(tmp_path: Path, card: Card) -> None:
    model = on_the_card(tmp_path, 4)
    assert isinstance(model.stream, Stream)
    for slot in model.stream.slots:
        card.memory(slot.inner).streams.discard(model.stream.copies)  # type: ignore[attr-defined, arg-type]
    with pytest.raises(Race, match="without record_stream"), torch.no_grad():
        velocity(model, "cuda")


def test_two_devices_in_one_operation(card: Card) -> None:
    with pytest.raises(RuntimeError, match="same device, but add got"):
        torch.ones(3, device="cuda") + torch.ones(3)
    with pytest.raises(RuntimeError, match="same device, but mm got"):
        torch.ones(3, 3, device="cuda") @ torch.ones(3, 3)
    with pytest.raises(TypeError, match="can't convert cuda"):
        torch.ones(3, device="cuda").numpy()
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        torch.ones(3, device="cuda").pin_memory()
    assert torch.equal((torch.ones(3, device="cuda") * torch.tensor(2.0)).cpu(), torch.full((3,), 2.0))


def test_pinned_memory_that_is_written_while_it_is_read(card: Card) -> None:
    pinned = torch.ones(3).pin_memory()
    there = pinned.to("cuda", non_blocking=True)
    with pytest.raises(Race, match="over what is being read on the default stream"):
        pinned.zero_()
    torch.cuda.synchronize()
    pinned.zero_()
    assert there.tolist() == [1, 1, 1]
