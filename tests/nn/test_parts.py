"""How the weights of a model are held, as memory and settings have it."""

import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from sakuga.core.cost import Held
from sakuga.core.errors import SakugaError
from sakuga.core.family import FAMILY
from sakuga.nn.device import cap_memory, free_memory, room_for_weights
from sakuga.nn.parts import Parts
from sakuga.nn.quant import QuantLinear
from sakuga.nn.transformer import WanTransformer
from sakuga.nn.vae import VaeDoor, make_vae

CPU, CARD = torch.device("cpu"), torch.device("cuda")
TINY = FAMILY["tiny-experts"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    path = tmp_path_factory.mktemp("model") / "a.safetensors"
    save_file({k: torch.randn(v.shape) * 0.1 for k, v in WanTransformer(TINY.transformer).state_dict().items()}, path)
    return {"high": path, "low": path}


def stored(model: WanTransformer) -> set[torch.dtype]:
    return {m.weight.dtype for m in model.modules() if isinstance(m, QuantLinear)}


def test_on_a_processor_weights_are_as_they_compute_and_resident(files: dict[str, Path]) -> None:
    parts = Parts(TINY, files, CPU, torch.float32)
    model = parts.transformer("high")
    assert parts.held == Held("fp32") and parts.stored == {} and model.stream is None and stored(model) == set()


def test_what_is_asked_for_is_done(files: dict[str, Path]) -> None:
    parts = Parts(TINY, files, CPU, torch.float32, weights="fp8", stream=2)
    for expert in ("high", "low"):
        model = parts.transformer(expert)
        assert stored(model) == {torch.float8_e4m3fn} and model.stream is not None
    assert parts.held == Held("fp8", 2) and parts.stored == {"weights": "fp8"}
    assert stored(Parts(TINY, files, CPU, torch.float32, weights="bf16").transformer("high")) == {torch.bfloat16}
    same = Parts(TINY, files, CPU, torch.bfloat16, weights="bf16")
    assert stored(same.transformer("high")) == set() and same.stored == {}


def test_a_cap_is_kept_to(files: dict[str, Path]) -> None:
    """Half precision, then a quarter, then blocks that are streamed; once for both experts."""
    kinds = []
    for megabytes in (1000, 0.001):
        parts = Parts(TINY, files, CPU, torch.float32, vram=megabytes / 1000)
        parts.transformer("high")
        first = parts.held
        parts.vram = None
        parts.transformer("low")
        assert parts.held is first
        kinds.append(first)
    assert kinds == [Held("fp32"), Held("fp8", TINY.transformer.layers)]


def test_more_blocks_than_there_are(files: dict[str, Path]) -> None:
    parts = Parts(TINY, files, CPU, torch.float32, stream=TINY.transformer.layers + 1)
    with pytest.raises(SakugaError, match=r"is more than the \d+ blocks that the transformer has; set fewer"):
        parts.transformer("high")


def test_blocks_are_compiled_where_wanted(files: dict[str, Path]) -> None:
    model = Parts(TINY, files, CPU, torch.float32, compile=True).transformer("high")
    assert all(block._compiled_call_impl is not None for block in model.blocks)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Of 24 GB, 20 of them free, 3 of what is taken held by torch and 1 of those in use."""
    fractions: list[float] = []

    def set_fraction(share: float, device: int) -> None:
        assert isinstance(device, int)  # torch refuses a device without a number
        fractions.append(share)

    def get_fraction(device: int) -> float:
        assert isinstance(device, int)
        return (fractions or [1.0])[-1]

    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", get_fraction)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=24e9))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", set_fraction)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (20e9, 24e9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3e9)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1e9)
    yield fractions


def test_what_a_card_has_room_for(card: list[float]) -> None:
    assert room_for_weights(CARD, None) == 22e9
    assert room_for_weights(CARD, 12) == 11e9
    assert room_for_weights(CARD, 24) == 22e9
    assert room_for_weights(CPU, None) == float("inf") and room_for_weights(CPU, 2) == 2e9


def test_what_is_free_is_what_torch_holds_unused_too_and_at_most_the_cap(
    card: list[float], files: dict[str, Path]
) -> None:
    vae = VaeDoor(make_vae(TINY.vae).to_empty(device="cpu"), TINY.vae.mean, TINY.vae.std)
    vae.device = CARD
    assert free_memory(CARD) == 22e9 and vae._budget() == 0.9 * 22e9
    cap_memory(CARD, 12)
    assert free_memory(CARD) == 11e9 and vae._budget() == 0.9 * 11e9


class Cycle:
    """What holds itself, as a compiled block does."""

    def __init__(self) -> None:
        self.self = self


def test_what_is_let_go_is_gone_even_where_it_holds_itself(files: dict[str, Path]) -> None:
    parts, gone = Parts(TINY, files, CPU, torch.float32), []
    held = Cycle()
    weakref.finalize(held, gone.append, True)
    parts._part, parts._role = held, "transformer"
    del held
    parts.release()
    assert gone == [True]


def test_a_cap_is_given_to_torch_and_lifted(card: list[float]) -> None:
    for vram in (12, 48, None):
        cap_memory(CARD, vram)
    cap_memory(CPU, 12)
    assert card == [0.5, 1.0, 1.0]
