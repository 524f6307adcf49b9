"""Training that begins with an existing LoRA: the model changes as the file changes it, whatever the rank."""

from pathlib import Path

import pytest
import torch
from test_lora import SHAPE, model, output, trained  # noqa: F401 (a fixture)
from torch import Tensor

from sakuga.core.errors import SakugaError
from sakuga.nn import lora
from sakuga.nn.lora import LoraTensors
from sakuga.nn.lora_changes import Dora, Full, Kron
from sakuga.nn.lora_start import start_from
from sakuga.nn.transformer import WanTransformer


def saved(rank: int, alpha: float) -> lora.LoraFile:
    return lora.LoraFile(Path("style.safetensors"), trained(WanTransformer(SHAPE), rank, alpha).tensors())


def matrices(adapters: lora.LoraSet) -> dict[str, Tensor]:
    return {name: layer.change.matrix() for name, layer in adapters.layers.items()}


def test_of_the_same_rank_it_is_exact(model: WanTransformer) -> None:  # noqa: F811
    file = saved(4, 4)
    adapters = lora.inject(model, 4, 4, seed=5)
    assert start_from(adapters, file) == ["begins with style.safetensors: 20 of 20 layers"]
    assert all(
        torch.equal(adapters.layers[n].A, t.A) and torch.equal(adapters.layers[n].B, t.B)
        for n, t in file.tensors.items()
    )


def test_another_scale_changes_B_alone(model: WanTransformer) -> None:  # noqa: F811
    file = saved(4, 4)
    adapters = lora.inject(model, 4, 8, seed=5, rslora=True)
    start_from(adapters, file, strength=0.5)
    for name, found in matrices(adapters).items():
        torch.testing.assert_close(found, 0.5 * file.tensors[name].matrix())
        assert torch.equal(adapters.layers[name].A, file.tensors[name].A)
        assert adapters.layers[name].alpha == 16  # that of the settings


def test_a_lower_rank_is_filled_up_and_changes_the_same(model: WanTransformer) -> None:  # noqa: F811
    file = saved(2, 1)
    adapters = lora.inject(model, 4, 4, seed=5)
    fresh = {name: layer.A.detach().clone() for name, layer in adapters.layers.items()}
    told = start_from(adapters, file)
    assert told[1:] == ["20 layers have a lower rank there; the rest of this one begins fresh"]
    for name, layer in adapters.layers.items():
        torch.testing.assert_close(layer.change.matrix(), file.tensors[name].matrix())
        assert torch.equal(layer.A[2:], fresh[name][2:]) and not layer.B[:, 2:].any()


def test_a_higher_rank_is_cut_to_the_best(model: WanTransformer) -> None:  # noqa: F811
    file = saved(6, 6)
    adapters = lora.inject(model, 4, 4, seed=5)
    told = start_from(adapters, file)
    assert told[1].startswith("20 layers have a higher rank there and are cut to this one: at most ")
    lost = 0.0
    for name, found in matrices(adapters).items():
        wanted = file.tensors[name].matrix()
        assert (wanted - found).norm() == pytest.approx(float(torch.linalg.svdvals(wanted)[4:].norm()), rel=1e-3)
        lost = max(lost, float((wanted - found).norm() / wanted.norm()))
    assert told[1].endswith(f"at most {lost:.1%} of one is lost")


def test_what_is_in_one_alone_is_named(model: WanTransformer) -> None:  # noqa: F811
    names = "blocks.0.self_attn.q", "blocks.1.ffn.0"
    whole = saved(4, 4).tensors
    dora = Dora(whole[names[0]], torch.ones(64, 1))
    file = lora.LoraFile(
        Path("a.safetensors"), {names[1]: whole[names[1]], "head.head": whole[names[0]]}, others={names[0]: dora}
    )
    adapters = lora.inject(model, 4, 4, seed=5, include=["self_attn.q", "ffn.0"])
    assert start_from(adapters, file) == [
        "begins with a.safetensors: 1 of 4 layers",
        "3 layers are not in it as plain ones and begin fresh (blocks.0.ffn.0, blocks.0.self_attn.q, blocks.1.self_attn.q)",
        "1 of its parts are not trained here and left out (head.head)",
    ]
    assert not adapters.layers[names[0]].B.any()


def test_other_kinds_become_low_rank(model: WanTransformer) -> None:  # noqa: F811
    kron = Kron({"lokr_w1": torch.randn(8, 8), "lokr_w2": torch.ones(8, 8)})
    full = Full(torch.outer(torch.randn(96), torch.randn(64)))
    file = lora.LoraFile(Path("k"), {}, others={"blocks.0.self_attn.q": kron, "blocks.0.ffn.0": full})
    adapters = lora.inject(model, 8, 8, seed=5)
    assert start_from(adapters, file)[0] == "begins with k: 2 of 20 layers"
    torch.testing.assert_close(matrices(adapters)["blocks.0.self_attn.q"], kron.matrix(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(matrices(adapters)["blocks.0.ffn.0"], full.matrix(), atol=1e-4, rtol=1e-4)


def test_a_lora_of_another_model_is_refused(model: WanTransformer) -> None:  # noqa: F811
    adapters = lora.inject(model, 4, 4, seed=5)
    with pytest.raises(SakugaError) as raised:
        start_from(
            adapters,
            lora.LoraFile(Path("b"), {"double_blocks.0.img": LoraTensors(torch.ones(1, 2), torch.ones(2, 1), 1)}),
        )
    assert str(raised.value) == (
        "b has no plain layer of those that are trained (double_blocks.0.img); begin with another LoRA, or without"
    )
    with pytest.raises(SakugaError) as raised:
        start_from(
            adapters, lora.LoraFile(Path("b"), {"blocks.0.ffn.0": LoraTensors(torch.ones(1, 9), torch.ones(96, 1), 1)})
        )
    assert str(raised.value) == (
        "b was made for another model: its blocks.0.ffn.0 is 96 x 9, here it is 96 x 64; begin with a LoRA of this model"
    )


def test_training_begins_where_the_file_ends(model: WanTransformer) -> None:  # noqa: F811
    file = saved(4, 4)
    applied = lora.apply(model, file)
    wanted = output(model)
    applied.lora.remove(model)
    start_from(lora.inject(model, 4, 4, seed=5), file)
    assert torch.equal(output(model), wanted)
