"""Streamed blocks: the same numbers to the bit as resident ones, forward and backward, with what is copied counted."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sakuga.core.errors import SakugaError
from sakuga.nn.stream import Stream, ahead, host_bytes, spread
from sakuga.nn.transformer import WanTransformer
from sakuga.nn.weights import load_transformer
from streamed import SHAPE, gradients, inputs, trained, weights_file

CPU = torch.device("cpu")
KINDS = [None, "bf16", "fp8"]


def opened(folder: Path, streamed: int, kind: str | None = None) -> WanTransformer:
    return load_transformer(SHAPE, weights_file(folder), torch.float32, kind=kind, streamed=streamed)


class Counted(Stream):
    """Notes which blocks are copied, in order."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.log: list[int] = []

    def _copy(self, entry: tuple[int, int], slot: int) -> None:
        super()._copy(entry, slot)
        self.log.append(entry[0])


def counted(folder: Path, slots: int = 2) -> tuple[WanTransformer, Counted]:
    model = opened(folder, 0)
    stream = Counted(dict(enumerate(model.blocks)), CPU, slots)
    model.stream = stream
    return model, stream


# The same numbers


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("streamed", [1, 2, 3, 6])
def test_streamed_and_resident_are_the_same_to_the_bit(kind: str | None, streamed: int, tmp_path: Path) -> None:
    resident, model = opened(tmp_path, 0, kind), opened(tmp_path, streamed, kind)
    with torch.no_grad():
        y = resident(*inputs())
        assert all(torch.equal(model(*inputs()), y) for _ in range(2))
    resident.checkpointing = True
    theirs, ours = trained(resident), trained(model)
    expected = gradients(resident, theirs)
    for _ in range(2):  # the second begins where the first left the slots
        assert all(torch.equal(a, b) for a, b in zip(gradients(model, ours), expected, strict=True))
    with torch.no_grad():
        assert torch.equal(model(*inputs()), resident(*inputs()))


def test_layers_that_are_left_out_are_no_matter(tmp_path: Path) -> None:
    resident, model = opened(tmp_path, 0), opened(tmp_path, 6)
    with torch.no_grad():
        for skip in ((), (2,), (0, 5), (), (1, 2, 3, 4)):
            assert torch.equal(model(*inputs(), skip=skip), resident(*inputs(), skip=skip))


@pytest.mark.parametrize("slots", [1, 2, 3, 9])
def test_any_number_of_slots_will_do(slots: int, tmp_path: Path) -> None:
    resident, (model, _) = opened(tmp_path, 0), counted(tmp_path, slots)
    resident.checkpointing = True
    expected, found = gradients(resident, trained(resident)), gradients(model, trained(model))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_lora_is_merged_into_streamed_weights(tmp_path: Path) -> None:
    """What the slots hold is known to be old."""
    for kind in KINDS:
        resident, model = opened(tmp_path, 0, kind), opened(tmp_path, 3, kind)
        with torch.no_grad():
            before = model(*inputs())
            assert trained(model).merge(model) == trained(resident).merge(resident)
            assert torch.equal(model(*inputs()), resident(*inputs()))
            assert (model(*inputs()) - before).abs().max() > 0.01


def test_the_keys_are_the_original_ones_and_what_is_saved_is_what_was_loaded(tmp_path: Path) -> None:
    resident, model = opened(tmp_path, 0), opened(tmp_path, 4)
    with torch.no_grad():
        model(*inputs())
    found = model.state_dict()
    assert list(found) == list(resident.state_dict())
    assert all(torch.equal(found[key], tensor) for key, tensor in resident.state_dict().items())


def test_a_block_that_fails_leaves_its_weights_at_home(tmp_path: Path) -> None:
    model = opened(tmp_path, 6)
    home = [p.data_ptr() for p in model.blocks[2].parameters()]
    handle = model.get_submodule("blocks.2.ffn").register_forward_pre_hook(lambda *_: 1 / 0)
    with torch.no_grad(), pytest.raises(ZeroDivisionError):
        model(*inputs())
    handle.remove()
    assert [p.data_ptr() for p in model.blocks[2].parameters()] == home
    with torch.no_grad():
        assert torch.equal(model(*inputs()), opened(tmp_path, 0)(*inputs()))


# What is copied, and when


def test_only_large_weights_are_in_slots(tmp_path: Path) -> None:
    model, stream = counted(tmp_path)
    seen: dict[str, bool] = {}

    def look(*_: object) -> None:
        slots = [(s.data_ptr(), s.data_ptr() + s.nbytes) for s in stream.slots]
        for name, p in model.blocks[1].named_parameters():
            seen[name] = any(begin <= p.data_ptr() < end for begin, end in slots)

    model.blocks[1].register_forward_pre_hook(look)
    trained(model)
    with torch.no_grad():
        model(*inputs())
    assert {name for name, there in seen.items() if there} == {
        n for n in seen if n.endswith("base.weight") and "norm" not in n
    }
    assert len(seen) > 40 and sum(seen.values()) == 10
    biggest = max(
        sum(-(-p.nbytes // 256) * 256 for p in b.parameters() if p.dim() == 2) for b in opened(tmp_path, 0).blocks
    )
    assert [slot.nbytes for slot in stream.slots] == [biggest] * 2


def test_each_block_is_copied_once_a_pass_and_one_ahead(tmp_path: Path) -> None:
    model, stream = counted(tmp_path)
    before: list[int] = []
    for block in model.blocks:
        block.register_forward_pre_hook(lambda *_: before.append(len(stream.log)))
    with torch.no_grad():
        model(*inputs())
        model(*inputs())
    assert stream.log == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0]
    assert before == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]


def test_training_turns_round_without_copying_what_is_there(tmp_path: Path) -> None:
    """Ten copies forward and back for six blocks, and the next step begins with two that are there."""
    model, stream = counted(tmp_path)
    adapters = trained(model)
    gradients(model, adapters)
    assert stream.log == [0, 1, 2, 3, 4, 5, 3, 2, 1, 0]
    stream.log.clear()
    gradients(model, adapters)
    assert stream.log == [2, 3, 4, 5, 3, 2, 1, 0]


@given(st.data())
def test_what_is_wanted_next(data: st.DataObject) -> None:
    count, depth = data.draw(st.integers(1, 12)), data.draw(st.integers(0, 4))
    for training in (False, True):
        for now in range(count):
            forward, backward = ahead(now, now - 1, count, depth, training), ahead(now, now + 1, count, depth, training)
            for wanted in (forward, backward):
                assert len(wanted) == len(set(wanted)) <= depth and now not in wanted
            if not training:
                assert forward == backward == [(now + n) % count for n in range(1, min(depth, count - 1) + 1)]
            elif 0 < now < count - 1:
                assert forward == list(range(now + 1, min(count, now + 1 + depth)))
                assert backward == list(range(now - 1, max(-1, now - 1 - depth), -1))
    assert (
        ahead(0, 1, 6, 2, True) == [1, 2] and ahead(5, 4, 6, 2, True) == [4, 3] and ahead(5, 4, 6, 2, False) == [0, 1]
    )


def test_streamed_blocks_stand_far_apart() -> None:
    assert spread(0, 40) == [] and spread(40, 40) == list(range(40)) and spread(1, 40) == [20]
    assert spread(10, 40) == list(range(2, 40, 4))
    for count in range(1, 41):
        found = spread(count, 40)
        gaps = [b - a for a, b in pairwise(found)]
        assert len(set(found)) == count and (not gaps or max(gaps) - min(gaps) <= 1)


def test_half_precision_stays_so_in_its_buffer(tmp_path: Path) -> None:
    path = weights_file(tmp_path)
    model, resident = (load_transformer(SHAPE, path, torch.bfloat16, streamed=n) for n in (4, 0))
    assert model.get_parameter("blocks.1.ffn.0.weight").dtype == torch.bfloat16
    with torch.no_grad():
        assert torch.equal(model(*inputs()), resident(*inputs()))


def test_a_system_that_pins_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    class Runtime:
        def cudaHostRegister(self, address: int, count: int, flags: int) -> int:
            return 2  # out of memory

    monkeypatch.setattr(torch.cuda, "cudart", Runtime)
    with pytest.raises(
        SakugaError, match=r"the system pins no 0\.35 GB more of host memory for a streamed block; stream"
    ):
        host_bytes(350_000_000, torch.device("cuda"))


def test_pinned_memory_is_whole_pages_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int]] = []

    class Runtime:
        def cudaHostRegister(self, address: int, count: int, flags: int) -> int:
            calls.append(("pin", address))
            assert address % 4096 == 0 and count == 8192
            return 0

        def cudaHostUnregister(self, address: int) -> int:
            calls.append(("unpin", address))
            return 0

    monkeypatch.setattr(torch.cuda, "cudart", Runtime)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append(("wait", 0)))
    buffer = host_bytes(5000, torch.device("cuda"))
    view: Tensor | None = buffer[3:70]
    address = buffer.data_ptr()
    assert buffer.shape == (5000,) and calls == [("pin", address)]
    del buffer
    assert len(calls) == 1  # a view is left
    view = None
    assert view is None and calls[1:] == [("wait", 0), ("unpin", address)]
