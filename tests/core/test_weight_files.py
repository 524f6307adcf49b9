"""Headers of .safetensors: what they say, and what is said of those that are cut short or are none."""

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from sakuga.core.errors import SakugaError
from sakuga.core.weight_files import TensorInfo, read_header, sizes

TENSORS = {
    "a": torch.zeros(2, 3),
    "b": torch.zeros(4, dtype=torch.float8_e4m3fn),
    "c": torch.zeros((), dtype=torch.bfloat16),
}


def said(path: Path) -> str:
    with pytest.raises(SakugaError) as caught:
        read_header(path)
    return str(caught.value)


def test_a_header_is_read_in_the_order_of_the_file(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "a.safetensors", {"note": "x"})
    found = read_header(tmp_path / "a.safetensors")
    assert {key: (info.dtype, info.shape, info.bytes) for key, info in found.items()} == {
        "a": ("F32", (2, 3), 24), "b": ("F8_E4M3", (4,), 4), "c": ("BF16", (), 2)
    }  # fmt: skip
    begins = [info.begin for info in found.values()]
    assert begins == sorted(begins)
    assert sizes(found) == {"F32": 24, "F8_E4M3": 4, "BF16": 2}


def test_a_file_that_is_cut_short(tmp_path: Path) -> None:
    path, whole = tmp_path / "a.safetensors", save({"a": torch.zeros(1_000_000)})
    path.write_bytes(whole[:1_000_000])
    assert said(path) == f"{path} is cut short: 0.001 of 0.004 GB are there; download it again"
    for length in (0, 7, 8, 40):
        path.write_bytes(whole[:length])
        assert said(path).startswith(f"{path} cannot be read as weights (")
    assert said(tmp_path).startswith(f"{tmp_path} cannot be read: ")
    assert said(tmp_path).endswith("; look whether it is there and yours")


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ([], "its header is no table"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, "a is no tensor that can be"),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}, "a is no tensor that can be"),
        ({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, "a is no tensor that can be"),
        ({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, "a is no tensor that can be"),
        ({"a": 1}, "a is no tensor that can be"),
    ],
)
def test_headers_that_cannot_be(header: object, why: str, tmp_path: Path) -> None:
    path, text = tmp_path / "a.safetensors", json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    assert said(path) == f"{path} cannot be read as weights ({why}); download it again"


def test_lengths_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for length, why in ((2**40, "it has no header"), (99, "its header is longer than the file")):
        path.write_bytes(struct.pack("<Q", length) + b"{}")
        assert why in said(path)
    path.write_bytes(struct.pack("<Q", 200_000) + b"[" * 200_000)
    assert "cannot be read as weights" in said(path)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_in_a_file(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(save(TENSORS))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.safetensors"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        found = read_header(path)
    except SakugaError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(info, TensorInfo) for info in found.values())
