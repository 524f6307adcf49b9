"""What is said of model and LoRA files that are missing, damaged or another model's: the whole sentence, with its remedy."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from random_model import make_tiny
from sakuga.core.errors import SakugaError
from sakuga.core.family import FAMILY
from sakuga.nn import lora
from sakuga.nn.text import load_text
from sakuga.nn.weights import fill, read_bytes, read_tensors, weight_files

STEM = "diffusion_model.blocks.0.ffn.0"


def said(call: Callable[[], object]) -> str:
    with pytest.raises(SakugaError) as caught:
        call()
    return str(caught.value)


def filled(path: Path, *tensors: tuple[str, Tensor]) -> nn.Module:
    """A model of one layer of 3 to 2, filled with `tensors`."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(3, 2))
    fill(model, iter(tensors), path, lambda _: torch.float32, "cpu")
    return model


WEIGHT, BIAS = ("0.weight", torch.ones(2, 3)), ("0.bias", torch.ones(2))
MODEL = Path("model.safetensors")


def test_what_fits_is_taken() -> None:
    assert filled(MODEL, WEIGHT, BIAS)(torch.ones(1, 3)).tolist() == [[4.0, 4.0]]


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ([WEIGHT], " does not fit this model: missing 0.bias; choose the file that belongs to it"),
        (
            [WEIGHT, ("1.bias", torch.ones(2))],
            " does not fit this model: missing 0.bias; not expected 1.bias; choose the file that belongs to it",
        ),
        (
            [("0.weight", torch.ones(3, 2))],
            " does not fit this model: 0.weight is [3, 2], expected [2, 3]; choose the --model that the file belongs to",
        ),
        ([WEIGHT, WEIGHT], " holds 0.weight twice; give the file or folder of one model"),
        (
            [("0.weight", torch.ones(2, 3, dtype=torch.int8))],
            " holds quantised weights (0.weight, int8), which Sakuga cannot read yet; "
            "use the fp16 or bf16 file of the same model",
        ),
    ],
)
def test_what_does_not_fit(tensors: list[tuple[str, Tensor]], sentence: str) -> None:
    assert said(lambda: filled(MODEL, *tensors)) == f"{MODEL}{sentence}"


def test_folders_that_are_no_model(tmp_path: Path) -> None:
    gone, empty, two = tmp_path / "gone", tmp_path / "empty", tmp_path / "two"
    empty.mkdir()
    two.mkdir()
    for name in ("a", "b"):
        (two / f"{name}.safetensors.index.json").write_text('{"weight_map": {"x": "x.safetensors"}}', "utf-8")
    assert said(lambda: weight_files(gone)) == f"{gone} does not exist; give the model's weight file or its folder"
    assert said(lambda: weight_files(empty)) == (
        f"{empty} holds no .safetensors file; give the model's weight file or its folder"
    )
    assert said(lambda: weight_files(two)) == (
        f"{two} holds 2 models (a.safetensors.index.json, ...); give the folder of one"
    )
    (two / "b.safetensors.index.json").unlink()
    assert said(lambda: weight_files(two)) == (
        f"{two / 'x.safetensors'} is named by a.safetensors.index.json but is missing; download the model again"
    )


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("a.safetensors", " cannot be read as weights (", "); download it again"),
        (
            "a.pth",
            " cannot be read as weights: it is damaged, or ",
            "; download it again, as .safetensors where there is one",
        ),
    ],
)
def test_a_file_that_is_no_weights(tmp_path: Path, name: str, start: str, end: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"not weights at all")
    sentence = said(lambda: list(read_tensors(path)))
    assert sentence.startswith(f"{path}{start}")
    assert sentence.endswith(end)


# LoRA files


def test_a_lora_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    assert said(lambda: lora.load_lora(path)) == f"{path} is not there; check the path of the LoRA"


def test_halves_of_two_ranks(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({f"{STEM}.lora_A.weight": torch.ones(4, 8), f"{STEM}.lora_B.weight": torch.ones(8, 2)}, path)
    assert said(lambda: lora.load_lora(path)) == (
        f"{path}: the halves of blocks.0.ffn.0 have ranks 4 and 2; the file is damaged, take another"
    )


def test_a_rank_of_nothing() -> None:
    assert said(lambda: lora.inject(nn.Module(), 0, 4, 0)) == "a LoRA's rank is at least 1, not 0"


def test_a_header_that_viewers_would_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {"blocks.0.ffn.0": lora.LoraTensors(torch.ones(1, 2), torch.ones(2, 1), 1.0)}
    sentence = said(lambda: lora.save_lora(path, tensors, {"title": "t", "notes": "x" * lora.HEADER_LIMIT}))
    assert sentence.startswith("the metadata of a.safetensors makes a header of ")
    assert sentence.endswith(f" bytes where viewers read {lora.HEADER_LIMIT:,}; shorten 'notes'")


def test_a_quantised_model_takes_no_merge() -> None:
    model = nn.Module()
    model.blocks = nn.ModuleList([nn.Module()])
    model.blocks[0].ffn = nn.Sequential(nn.Linear(4, 4))
    adapters = lora.inject(model, 1, 1, 0)
    model.get_submodule("blocks.0.ffn.0.base").weight.data = torch.ones(4, 4, dtype=torch.int8)
    assert said(lambda: adapters.merge(model)) == (
        "blocks.0.ffn.0 is quantised and a LoRA cannot be merged into it; load the model in bf16"
    )


# tokenizers


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    make_tiny(FAMILY["tiny"], tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert said(lambda: load_text(FAMILY["tiny"].text, tmp_path / "text_encoder", empty)) == (
        f"{empty} holds no tokenizer; give the folder with tokenizer.json or spiece.model"
    )


def test_a_small_file_that_cannot_be_opened(tmp_path: Path) -> None:
    sentence = said(lambda: read_bytes(tmp_path))
    assert sentence.startswith(f"{tmp_path} cannot be read: ")
    assert sentence.endswith("; look whether it is there and yours")
