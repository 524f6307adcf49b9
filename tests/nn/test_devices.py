"""Which device is taken, and what is said of one that is not there or of work that no model of this version can do."""

import pytest
import torch

from sakuga.core.errors import SakugaError
from sakuga.core.family import FAMILY
from sakuga.nn.device import pick_device, pick_dtype
from sakuga.nn.render import fit_size

CPU = torch.device("cpu")


@pytest.fixture
def one_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def said(name: str) -> str:
    with pytest.raises(SakugaError) as caught:
        pick_device(name)
    return str(caught.value)


def test_the_best_there_is(one_card: None) -> None:
    assert [pick_device(n) for n in (None, "cpu", "cuda", "cuda:0")] == [
        torch.device(n) for n in ("cuda", "cpu", "cuda", "cuda:0")
    ]


def test_without_a_card_it_is_the_processor(no_card: None) -> None:
    assert pick_device(None) == pick_device("cpu") == CPU


def test_the_precision_follows_the_device() -> None:
    assert [pick_dtype(None, torch.device(n)) for n in ("cpu", "cuda")] == [torch.float32, torch.bfloat16]
    assert [pick_dtype(n, CPU) for n in ("fp32", "bf16", "fp16")] == [torch.float32, torch.bfloat16, torch.float16]


def test_a_card_that_is_not_there(one_card: None) -> None:
    assert said("cuda:1") == "device 'cuda:1' is not there: the last of this machine is cuda:0"


def test_no_card_at_all(no_card: None) -> None:
    assert said("cuda") == f"device 'cuda' is not there: this torch ({torch.__version__}) sees no NVIDIA card; use cpu"


def test_names_that_are_no_device() -> None:
    assert said("gpu") == "device 'gpu' is not known; use cpu, cuda or cuda:0"
    assert said("meta") == "device 'meta' is none that Sakuga works on; use cpu, cuda or cuda:0"


def test_a_video_too_small() -> None:
    tiny = FAMILY["tiny"]
    assert fit_size(tiny, 47, 33, 4) == (32, 32, 1)
    for size in ((15, 32, 1), (32, 15, 1)):
        with pytest.raises(SakugaError) as caught:
            fit_size(tiny, *size)
        width, height, frames = size
        assert str(caught.value) == (
            f"{width}x{height} with {frames} frames is too small: {tiny.title} needs 16x16 and 1 frame"
        )
