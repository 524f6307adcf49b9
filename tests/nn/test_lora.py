"""LoRA in the model and in files: exactness, the forms that are about, and diffusers as the other reader."""

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from diffusers_pair import diffusers_with_lora
from sakuga.core.errors import SakugaError
from sakuga.core.family import SIZE_TINY
from sakuga.nn import lora
from sakuga.nn.lora import LoraLinear, LoraTensors
from sakuga.nn.transformer import WanTransformer

SHAPE = replace(SIZE_TINY, dim=64, ffn_dim=96, heads=2, layers=2, text_dim=24, freq_dim=32)
KOHYA = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight", "alpha": "alpha"}


def randomise(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            centre = 1 if "norm" in name and name.endswith("weight") else 0
            parameter.copy_(centre + 0.08 * torch.randn(parameter.shape, generator=generator))


@pytest.fixture
def model() -> WanTransformer:
    model = WanTransformer(SHAPE)
    randomise(model, 0)
    return model.eval()


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, SHAPE.in_channels, 2, 4, 6, generator=generator)
    return x, torch.tensor([700.0]), torch.randn(1, 5, SHAPE.text_dim, generator=generator)


@torch.no_grad()
def output(model: Callable[..., Tensor]) -> Tensor:
    return model(*inputs())


def trained(model: nn.Module, rank: int = 4, alpha: float = 4, seed: int = 0) -> lora.LoraSet:
    """Adapters with a B that is not zero."""
    adapters = lora.inject(model, rank, alpha, seed)
    generator = torch.Generator().manual_seed(seed + 100)
    with torch.no_grad():
        for layer in adapters.layers.values():
            layer.B.copy_(0.3 * torch.randn(layer.B.shape, generator=generator))
    return adapters


def some_tensors(names: list[str], rank: int = 4) -> dict[str, LoraTensors]:
    generator = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return {n: LoraTensors(normal(rank, 64), normal(64, rank), 2.0 * rank) for n in names}


def same(a: dict[str, LoraTensors], b: dict[str, LoraTensors]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[n].A, b[n].A) and torch.equal(a[n].B, b[n].B) and a[n].alpha == b[n].alpha for n in a
    )


# In the model


def test_a_new_lora_changes_nothing_and_takes_every_target(model: WanTransformer) -> None:
    before, keys = output(model), list(model.state_dict())
    adapters = lora.inject(model, 4, 4, seed=0)
    assert torch.equal(output(model), before)
    assert len(adapters.layers) == SHAPE.layers * 10
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in adapters.parameters()}
    assert all(p.dtype == torch.float32 for p in adapters.parameters())
    assert list(model.state_dict()) == keys


def test_the_first_values_are_a_pure_function_of_seed_and_name(model: WanTransformer) -> None:
    adapters = lora.inject(model, 4, 4, seed=3)
    first = adapters.tensors()
    adapters.remove(model)
    torch.randn(7)
    again = lora.inject(model, 4, 4, seed=3, include=["ffn.2"]).tensors()
    assert list(again) == ["blocks.0.ffn.2", "blocks.1.ffn.2"]
    assert same(again, {n: first[n] for n in again})
    A = again["blocks.0.ffn.2"].A
    assert A.abs().max() <= SHAPE.ffn_dim**-0.5
    assert A.std().item() == pytest.approx((3 * SHAPE.ffn_dim) ** -0.5, rel=0.1)
    assert not torch.equal(A, again["blocks.1.ffn.2"].A)


def test_base_weights_load_under_their_own_names(model: WanTransformer) -> None:
    adapters = trained(model)
    other = WanTransformer(SHAPE)
    randomise(other, 9)
    values = adapters.tensors()
    assert not any(model.load_state_dict(other.state_dict()))
    assert same(adapters.tensors(), values)
    adapters.remove(model)
    assert not any(isinstance(m, LoraLinear) for m in model.modules())
    assert torch.equal(output(model), output(other))


def test_applied_equals_merged(model: WanTransformer) -> None:
    before = output(model)
    adapters = trained(model)
    applied = output(model)
    adapters.merge(model)
    assert not any(isinstance(m, LoraLinear) for m in model.modules())
    difference = (output(model) - applied).abs().max().item()
    effect = (applied - before).abs().max().item()
    assert difference <= 1e-6
    assert effect > 1e3 * difference


def test_strength_acts_at_once_and_merges(model: WanTransformer) -> None:
    before = output(model)
    adapters = trained(model)
    full = output(model)
    adapters.set_strength(0.0)
    assert torch.equal(output(model), before)
    adapters.set_strength(0.5)
    half = output(model)
    assert not torch.allclose(half, full, atol=1e-3)
    assert not torch.allclose(half, before, atol=1e-3)
    adapters.merge(model, 0.5)
    torch.testing.assert_close(output(model), half, atol=1e-6, rtol=0)


def test_adapters_stack_and_come_off_in_any_order(model: WanTransformer) -> None:
    keys, before = list(model.state_dict()), output(model)
    first = trained(model, seed=1)
    only_first = output(model)
    second = trained(model, rank=2, seed=2)
    both = output(model)
    assert list(model.state_dict()) == keys
    first.remove(model)
    only_second = output(model)
    assert not torch.allclose(both, only_second, atol=1e-3)
    second.remove(model)
    assert torch.equal(output(model), before)
    lora.apply(model, lora.LoraFile(Path("x"), first.tensors()))
    assert torch.equal(output(model), only_first)
    lora.merge(model, lora.LoraFile(Path("y"), second.tensors()))
    torch.testing.assert_close(output(model), both, atol=1e-6, rtol=0)


def test_gradients_reach_the_adapters_alone(model: WanTransformer) -> None:
    adapters = lora.inject(model, 4, 4, seed=0)
    x, t, text = inputs()
    model(x, t, text).square().mean().backward()
    assert all(layer.B.grad is not None and layer.B.grad.abs().sum() > 0 for layer in adapters.layers.values())
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


def test_half_precision_base_keeps_fp32_adapters() -> None:
    linear = LoraLinear(nn.Linear(8, 8, dtype=torch.bfloat16), {"A": torch.randn(2, 8), "B": torch.randn(8, 2)}, 2)
    assert linear(torch.randn(3, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert linear.A.dtype == torch.float32


def test_saved_values_are_taken_over(model: WanTransformer) -> None:
    values = trained(model).tensors()
    fresh = WanTransformer(SHAPE)
    adapters = lora.inject(fresh, 4, 4, seed=8)
    adapters.load(values)
    assert same(adapters.tensors(), values)
    with pytest.raises(SakugaError, match=r"rank 4 at blocks\.0\.self_attn\.q, this one 2; set the same rank"):
        lora.inject(WanTransformer(SHAPE), 2, 2, seed=0).load(values)
    with pytest.raises(SakugaError, match="has other layers than this one"):
        adapters.load({})
    other = lora.inject(WanTransformer(replace(SHAPE, ffn_dim=80)), 4, 4, seed=0)
    with pytest.raises(SakugaError, match=r"of another model: its blocks.0.ffn.0 is 96 x 64, this one's 80 x 64"):
        other.load(values)


def test_what_cannot_be_trained_is_an_error(model: WanTransformer) -> None:
    with pytest.raises(SakugaError) as raised:
        lora.inject(model, 4, 4, 0, include=["self_attn.w"])
    assert str(raised.value).startswith(
        "'self_attn.w' in train.include finds no layer that a LoRA can train; did you mean self_attn."
    )
    assert "(there are, in every block: cross_attn.k, cross_attn.o" in str(raised.value)
    with pytest.raises(SakugaError, match="'blocks.9' in train.ranks finds no layer"):
        lora.inject(model, 4, 4, 0, ranks={"blocks.9": 2})
    with pytest.raises(SakugaError, match=r"'\(' in train.exclude is no pattern \(missing \), .*\); mend it"):
        lora.inject(model, 4, 4, 0, exclude=["("])
    with pytest.raises(SakugaError, match="at least 1, not 0"):
        lora.inject(model, 0, 4, 0)
    with pytest.raises(
        SakugaError, match="none of the layers that the LoRA is to train; change `include` and `exclude`"
    ):
        lora.inject(model, 4, 4, 0, exclude=["blocks"])


def test_patterns_choose_layers_and_ranks(model: WanTransformer) -> None:
    adapters = lora.inject(
        model, 4, None, 0, include=[r"attn\.[qv]$", "ffn"], exclude=["cross_attn", "k_img"],
        ranks={"ffn": 8, r"blocks\.1\.": 2, "self_attn.v": 3},
    )  # fmt: skip
    ranks = {name: len(layer.A) for name, layer in adapters.layers.items()}
    assert ranks == {
        "blocks.0.self_attn.q": 4, "blocks.0.self_attn.v": 3, "blocks.0.ffn.0": 8, "blocks.0.ffn.2": 8,
        "blocks.1.self_attn.q": 2, "blocks.1.self_attn.v": 3, "blocks.1.ffn.0": 2, "blocks.1.ffn.2": 2,
    }  # fmt: skip
    assert {layer.scale for layer in adapters.layers.values()} == {1.0}


def test_rslora_is_a_scale_that_other_programs_need_not_know(tmp_path: Path, model: WanTransformer) -> None:
    adapters = lora.inject(model, 16, 8, 0, ranks={"ffn": 4}, rslora=True)
    assert adapters.layers["blocks.0.self_attn.q"].scale == 8 / 4
    assert adapters.layers["blocks.0.ffn.0"].scale == 8 / 2
    with torch.no_grad():
        for layer in adapters.layers.values():
            layer.B.fill_(0.01)
    wanted = output(model)
    lora.save_lora(tmp_path / "rs.safetensors", adapters.tensors(), {}, torch.float32)
    adapters.remove(model)
    lora.apply(model, lora.load_lora(tmp_path / "rs.safetensors"))
    assert torch.equal(output(model), wanted)


def test_dropout_is_of_training_alone_and_the_same_for_the_same_seed(model: WanTransformer) -> None:
    adapters = lora.inject(model, 4, 4, 0, dropout=0.5)
    with torch.no_grad():
        for layer in adapters.layers.values():
            layer.B.fill_(0.1)

    def gradients(checkpointing: bool, seed: int) -> list[Tensor]:
        model.checkpointing = checkpointing
        torch.manual_seed(seed)
        model(*inputs()).square().mean().backward()
        return [grad for p in adapters.parameters() if (grad := p.grad) is not None and not setattr(p, "grad", None)]

    still = output(model), output(model)
    assert torch.equal(*still)  # the model was in eval mode, and so are the new adapters
    model.train()
    plain, again, other = gradients(False, 1), gradients(True, 1), gradients(False, 2)
    assert all(map(torch.equal, plain, again)) and not all(map(torch.equal, plain, other))
    assert not torch.equal(output(model), still[0])
    model.eval()
    assert torch.equal(output(model), still[0])


def test_dropout_keeps_the_mean_and_the_base() -> None:
    layer = LoraLinear(nn.Linear(4, 3), {"A": torch.ones(1, 4), "B": torch.ones(3, 1)}, 1, dropout=0.25)
    layer.train()
    torch.manual_seed(0)
    x = torch.ones(4000, 4)
    delta = (layer(x) - layer.base(x))[:, 0].detach()
    assert set((delta * 3 / 4).round(decimals=4).tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert float(delta.mean()) == pytest.approx(4, abs=0.05)


# Files


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_save_and_load_are_bit_equal(tmp_path: Path, model: WanTransformer, dtype: torch.dtype) -> None:
    values = {n: LoraTensors(v.A.to(dtype), v.B.to(dtype), 8.0) for n, v in trained(model).tensors().items()}
    metadata = {"ss_network_dim": "4", "title": "風", "modelspec.architecture": "wan2.1/lora"}
    lora.save_lora(tmp_path / "a.safetensors", values, metadata, dtype)
    file = lora.load_lora(tmp_path / "a.safetensors")
    assert same(file.tensors, values)
    assert file.tensors["blocks.0.ffn.0"].A.dtype == dtype
    assert file.metadata == metadata
    assert file.unused == []
    keys = set(load_file(tmp_path / "a.safetensors"))
    stem = "diffusion_model.blocks.0.self_attn.q"
    assert {f"{stem}.lora_A.weight", f"{stem}.lora_B.weight", f"{stem}.alpha"} <= keys
    assert len(keys) == 3 * len(values)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_same_lora_gives_the_same_bytes(tmp_path: Path) -> None:
    names = ["blocks.1.ffn.0", "blocks.0.self_attn.q", "blocks.10.cross_attn.o"]
    values = some_tensors(names, rank=3) | {"blocks.0.ffn.0": LoraTensors(torch.ones(3, 5), torch.ones(8, 3), 3.0)}
    metadata = {f"key{i}": str(i) for i in range(20)}
    lora.save_lora(tmp_path / "a", values, metadata)
    lora.save_lora(tmp_path / "b", dict(reversed(values.items())), dict(reversed(metadata.items())))
    data = (tmp_path / "a").read_bytes()
    assert data == (tmp_path / "b").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert list(header) == sorted(header)
    for name, entry in header.items():
        assert name == "__metadata__" or entry["data_offsets"][0] % (4 if entry["dtype"] == "F32" else 2) == 0
    assert same(lora.load_lora(tmp_path / "a").tensors, {n: LoraTensors(v.A.bfloat16(), v.B.bfloat16(), v.alpha)
                                                         for n, v in values.items()})  # fmt: skip


def test_hashes_are_those_that_viewers_make(tmp_path: Path) -> None:
    values = some_tensors(["blocks.0.self_attn.q"])
    lora.save_lora(tmp_path / "a", values, {"title": "one"})
    lora.save_lora(tmp_path / "b", values, {"title": "another"})
    data = (tmp_path / "a").read_bytes()
    a, b = lora.hashes(tmp_path / "a"), lora.hashes(tmp_path / "b")
    after_header = data[8 + struct.unpack("<Q", data[:8])[0] :]
    assert a.autov2 == hashlib.sha256(data).hexdigest()[:10]
    assert a.sshs_model_hash == hashlib.sha256(after_header).hexdigest()
    assert a.autov3 == a.sshs_model_hash[:12]
    assert (a.autov3, a.sshs_model_hash) == (b.autov3, b.sshs_model_hash)
    assert a.autov2 != b.autov2


def test_a_header_that_viewers_would_ignore_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SakugaError, match="shorten 'thumbnail'"):
        lora.save_lora(tmp_path / "a", some_tensors(["blocks.0.ffn.0"]), {"thumbnail": "x" * 2**20, "title": "t"})
    assert list(tmp_path.iterdir()) == []


def forms(name: str, native: str) -> dict[str, tuple[str, str, str]]:
    """The keys of a layer's A, B and alpha in every form that is about."""
    plain = {
        prefix: tuple(f"{prefix}{name}.{end}" for end in KOHYA)
        for prefix in ("", "diffusion_model.", "model.diffusion_model.", "base_model.model.", "transformer.",
                       "base_model.model.diffusion_model.", "transformer_2.")
    }  # fmt: skip
    return plain | {  # type: ignore[return-value]
        "kohya": tuple(f"lora_unet_{name.replace('.', '_')}.{end}" for end in KOHYA.values()),
        "original names with down and up": tuple(f"diffusion_model.{name}.{end}" for end in KOHYA.values()),
        "peft": tuple(f"base_model.model.{name}.{end.replace('.', '.default.')}" for end in KOHYA),
        "diffusers": tuple(f"transformer.{native}.{end}" for end in KOHYA),
        "diffusers, older": tuple(f"{native}.{end}" for end in ("lora.down.weight", "lora.up.weight", "alpha")),
    }


LAYERS = {
    "blocks.0.self_attn.q": "blocks.0.attn1.to_q",
    "blocks.11.self_attn.o": "blocks.11.attn1.to_out.0",
    "blocks.3.cross_attn.v": "blocks.3.attn2.to_v",
    "blocks.3.cross_attn.k_img": "blocks.3.attn2.add_k_proj",
    "blocks.7.ffn.0": "blocks.7.ffn.net.0.proj",
    "blocks.7.ffn.2": "blocks.7.ffn.net.2",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "head.head": "proj_out",
}


@pytest.mark.parametrize("form", list(forms("", "")))
@pytest.mark.parametrize("with_alpha", [True, False])
def test_every_form_is_read(tmp_path: Path, form: str, with_alpha: bool) -> None:
    values = some_tensors(list(LAYERS))
    state = {}
    for name, (A, B, alpha) in values.items():
        a, b, c = forms(name, LAYERS[name])[form]
        state |= {a: A, b: B} | ({c: torch.tensor(alpha)} if with_alpha else {})
    save_file(state, tmp_path / "a")
    file = lora.load_lora(tmp_path / "a")
    assert file.unused == []
    assert same(file.tensors, values if with_alpha else {n: v._replace(alpha=4.0) for n, v in values.items()})


@pytest.mark.parametrize("odd_part", ["hada_w1_a", "lokr_w2", "lokr_t2"])
def test_no_key_is_ignored_in_silence(tmp_path: Path, odd_part: str) -> None:
    values = some_tensors(["blocks.0.ffn.0", "blocks.1.ffn.0", "blocks.2.ffn.0"])
    state = lora.lora_state_dict(values, torch.float32)
    odd = {
        f"diffusion_model.blocks.1.ffn.0.{odd_part}": torch.ones(4, 64),
        "diffusion_model.blocks.3.ffn.0.lora_A.weight": torch.ones(4, 64),
        "diffusion_model.blocks.4.ffn.0.alpha": torch.tensor(1.0),
        "diffusion_model.blocks.0.norm3.lora_A.weight": torch.ones(4, 4),
        "lora_unet_blocks_0_ffn_2.lokr_w1": torch.ones(2, 2),
        "transformer_2.blocks.0.ffn.0.lora_A.weight": torch.ones(4, 64),
    }
    save_file(state | odd, tmp_path / "a")
    file = lora.load_lora(tmp_path / "a")
    assert list(file.tensors) == ["blocks.0.ffn.0", "blocks.2.ffn.0"]
    assert torch.equal(file.tensors["blocks.0.ffn.0"].A, values["blocks.0.ffn.0"].A)
    assert file.unused == sorted({*odd} | {k for k in state if "blocks.1." in k})


def test_files_that_are_no_lora_are_named(tmp_path: Path) -> None:
    with pytest.raises(SakugaError, match="is not there"):
        lora.load_lora(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"half a file")
    with pytest.raises(SakugaError, match="not a whole safetensors file"):
        lora.load_lora(tmp_path / "a")
    save_file({"blocks.0.ffn.0.lora_A.weight": torch.ones(4, 8), "blocks.0.ffn.0.lora_B.weight": torch.ones(8, 2)},
              tmp_path / "b")  # fmt: skip
    with pytest.raises(SakugaError, match="ranks 4 and 2"):
        lora.load_lora(tmp_path / "b")


def test_apply_reports_what_it_used(model: WanTransformer) -> None:
    file = lora.LoraFile(Path("x"), some_tensors(["blocks.0.self_attn.q", "blocks.9.self_attn.q"]), {}, ["odd"])
    before = output(model)
    applied = lora.apply(model, file, strength=0.5)
    assert applied.used == ["blocks.0.self_attn.q"]
    assert applied.unused == ["blocks.9.self_attn.q", "odd"]
    assert not any(p.requires_grad for p in applied.lora.parameters())
    half = output(model)
    assert not torch.equal(half, before)
    applied.lora.set_strength(1.0)
    assert not torch.equal(output(model), half)
    applied.lora.set_strength(0.5)
    assert torch.equal(output(model), half)
    applied.lora.remove(model)
    assert torch.equal(output(model), before)


def test_a_lora_of_another_model_does_not_pass(model: WanTransformer) -> None:
    wide = {"blocks.0.ffn.0": LoraTensors(torch.ones(4, 5120), torch.ones(13824, 4), 4)}
    with pytest.raises(SakugaError, match=r"x was made for another model: its blocks\.0\.ffn\.0 is 13824 x 5120"):
        lora.apply(model, lora.LoraFile(Path("x"), wide))
    with pytest.raises(SakugaError, match="nothing that fits this model"):
        lora.apply(model, lora.LoraFile(Path("x"), some_tensors(["unet.q"]), {}, []))
    assert not any(isinstance(m, LoraLinear) for m in model.modules())


# The other reader


@pytest.mark.parametrize("alpha", [4, 8])
def test_diffusers_gives_the_same_output_with_our_file(tmp_path: Path, model: WanTransformer, alpha: float) -> None:
    state = {k: v.clone() for k, v in model.state_dict().items()}
    base = output(model)
    adapters = trained(model, rank=4, alpha=alpha)
    lora.save_lora(tmp_path / "a.safetensors", adapters.tensors(), {}, torch.float32)
    ours, theirs = output(model), diffusers_with_lora(SHAPE, state, tmp_path / "a.safetensors")(*inputs())
    assert (diffusers_with_lora(SHAPE, state, None)(*inputs()) - base).abs().max() <= 1e-5
    assert (ours - theirs).abs().max() <= 1e-5
    assert (ours - base).abs().max() > 0.01
