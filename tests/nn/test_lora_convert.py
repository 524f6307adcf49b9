"""Names of layers in every form, conversion there and back, merging, and diffusers reading what was converted."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffusers_pair import diffusers_with_lora
from lora_readers import (
    FORMS,
    LAYERS,
    LENGTHS,
    SHAPE,
    comfy,
    comfy_reads,
    diffusers,
    kohya,
    loha_parts,
    lokr_parts,
    normal,
    output,
    plain_parts,
    size_of,
    small_model,
    state,
)
from lora_readers import inputs as small_inputs
from sakuga.core.errors import SakugaError
from sakuga.core.family import MEMBERS
from sakuga.nn import lora
from sakuga.nn.lora_changes import LoraTensors
from sakuga.nn.lora_convert import Made, combine, convert
from sakuga.nn.lora_file import LoraFile, load_lora, lora_state_dict, write_state
from sakuga.nn.lora_names import ENDINGS, TARGETS, diffusers_name, original_name, parse
from sakuga.nn.lora_names import FORMS as NAMES
from sakuga.nn.lora_told import describe, nearest_expert

MOST = max(member.transformer.layers for member in MEMBERS)
layers = st.builds("blocks.{}.{}".format, st.integers(0, MOST - 1), st.sampled_from(TARGETS)) | st.sampled_from(
    ["head.head", "time_embedding.0", "time_embedding.2", "time_projection.1", "text_embedding.0", "img_emb.proj.3"]
)
PARTS = sorted(set(ENDINGS.values()) - {"B_bias", "diff_m", "mid"})  # never written


def save(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> LoraFile:
    save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, path, metadata)
    return load_lora(path)


def written(made: Made, path: Path) -> LoraFile:
    write_state(path, made.state, made.metadata)
    return load_lora(path)


def effect(file: LoraFile) -> Tensor:
    model = small_model()
    assert lora.apply(model, file).unused == []
    return output(model)


# Names


@given(layers, st.sampled_from(PARTS), st.sampled_from(sorted(NAMES)))
def test_every_key_that_is_written_is_read(layer: str, part: str, form: str) -> None:
    read = {"B_bias": "diff_b"}  # diffusers knows the bias of B alone, which is the same where alpha is the rank
    name, found, _ = parse(NAMES[form].key(layer, part))
    assert (name, read.get(str(found), found)) == (layer, part)


@given(
    layers, st.sampled_from(["base_model.model.", "diffusion_model.", "model.diffusion_model.", "transformer_2.", ""])
)
def test_names_under_any_prefix(layer: str, prefix: str) -> None:
    assert original_name(prefix + layer) == layer
    assert original_name(prefix + diffusers_name(layer)) == layer
    for underscored in ("lora_unet_", "lora_unet__", "lycoris_"):
        assert original_name(underscored + layer.replace(".", "_")) == layer
        assert original_name(underscored + diffusers_name(layer).replace(".", "_")) == layer


@given(st.text(max_size=60))
def test_any_key_is_parsed(key: str) -> None:
    found = parse(key)
    assert found.part in {None, *ENDINGS.values()} and isinstance(found.layer, str)


# There and back


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", ["comfy", "kohya", "diffusers"])
def test_plain_lora_goes_there_and_back_bit_by_bit(tmp_path: Path, form: str, dtype: torch.dtype) -> None:
    """diffusers' form has no alpha; at alpha / rank = 2 it goes into B, and its values stay exact."""
    first = save(tmp_path / "a", {k: v if k.endswith("alpha") else v.to(dtype) for k, v in state(comfy).items()})
    there = written(convert(first, form), tmp_path / "b")
    back = written(convert(there, "comfy"), tmp_path / "c")
    for layer, change in first.tensors.items():
        again = back.tensors[layer]
        assert torch.equal(again.A, change.A) and again.A.dtype == again.B.dtype == dtype
        assert torch.equal(again.scale * again.B, change.scale * change.B)
        assert form == "diffusers" or (torch.equal(again.B, change.B) and again.alpha == change.alpha)
    assert not there.unused and not back.unused


@pytest.mark.parametrize("form", ["comfy", "kohya"])
@pytest.mark.parametrize("kind", ["LoKr", "LoKr, both factors whole", "LoHa", "DoRA", "biases", "whole differences"])
def test_other_kinds_keep_their_numbers(tmp_path: Path, kind: str, form: str) -> None:
    first = save(tmp_path / "a", FORMS[kind][1])
    there = written(convert(first, form), tmp_path / "b")
    back = written(convert(there, "comfy"), tmp_path / "c")
    assert torch.equal(effect(there), effect(first)) and torch.equal(effect(back), effect(first))
    before, after = load_file(tmp_path / "a"), load_file(tmp_path / "c")
    numbers = {key for key in before if not key.endswith("alpha")}  # the alpha of whole factors says nothing
    assert all(torch.equal(before[key], after[key]) for key in numbers) and numbers <= after.keys()
    assert comfy_reads(sorted(after)) == "yes"


def test_modulation_and_norms_are_written_as_comfyui_knows_them(tmp_path: Path) -> None:
    first = save(tmp_path / "a", {
        "diffusion_model.blocks.0.diff_m": torch.ones(1, 6, 64), "diffusion_model.blocks.0.norm3.diff": torch.ones(64),
        "diffusion_model.blocks.0.norm3.diff_b": torch.ones(64),
    })  # fmt: skip
    made = convert(first, "comfy")
    assert comfy_reads(sorted(made.state)) == "yes"
    assert written(made, tmp_path / "b").shifts.keys() == first.shifts.keys()


@pytest.mark.parametrize(
    ("kind", "parts"),
    [("LoRA", plain_parts), ("LoKr", lokr_parts), ("LoHa", lambda n: {k: v[:, :2] if k.endswith("a") else v[:2] for k, v in
                                                                    loha_parts(n).items()})],
)  # fmt: skip
def test_diffusers_shows_what_was_converted(tmp_path: Path, kind: str, parts: Any) -> None:
    first = save(tmp_path / "a.safetensors", state(comfy, parts, alpha=3.0))  # no power of two
    made = convert(first, "diffusers")
    assert all(loss < 1e-6 for loss in made.lost.values()) and made.dropped == []
    file = written(made, tmp_path / "b.safetensors")
    weights = small_model().state_dict()
    theirs = diffusers_with_lora(SHAPE, weights, tmp_path / "b.safetensors")(*small_inputs())
    assert (theirs - effect(first)).abs().max() <= 1e-5
    assert (effect(file) - effect(first)).abs().max() <= 1e-5
    assert (effect(first) - output(small_model())).abs().max() > 0.01
    write_state(tmp_path / "c.safetensors", convert(first, "comfy", plain=True).state, {})
    theirs = diffusers_with_lora(SHAPE, weights, tmp_path / "c.safetensors")(*small_inputs())
    assert (theirs - effect(first)).abs().max() <= 1e-5


def test_diffusers_takes_biases_along_and_the_rest_is_named(tmp_path: Path) -> None:
    tensors = state(comfy, alpha=None, also={"diff_b": LENGTHS[:, 0]})
    file = save(tmp_path / "a", tensors | {"diffusion_model.blocks.0.norm3.diff": torch.ones(64), "odd": torch.ones(1)})
    made = convert(file, "diffusers")
    assert made.dropped == ["blocks.0.norm3.weight", "odd"]
    write_state(tmp_path / "b.safetensors", made.state, {})
    theirs = diffusers_with_lora(SHAPE, small_model().state_dict(), tmp_path / "b.safetensors")(*small_inputs())
    ours = effect(load_lora(tmp_path / "b.safetensors"))
    assert (theirs - ours).abs().max() <= 1e-5
    assert (ours - effect(save(tmp_path / "c", tensors))).abs().max() <= 1e-6


def test_a_rank_cuts_and_says_what_that_loses(tmp_path: Path) -> None:
    file = save(tmp_path / "a", state(comfy, lambda n: lokr_parts(n, whole=True), alpha=None))
    with pytest.raises(
        SakugaError, match=r"a has a LoKr of rank 64 at blocks\.0\.cross_attn\.k, and a LoRA of that rank is larger"
    ):
        convert(file, "comfy", plain=True)
    made = convert(file, "comfy", rank=8)
    cut = written(made, tmp_path / "b")
    for layer, change in file.others.items():
        matrix: Tensor = change.matrix()  # type: ignore[union-attr]
        assert cut.tensors[layer].rank == 8
        share = (cut.tensors[layer].matrix() - matrix).norm() / matrix.norm()
        assert share.item() == pytest.approx(made.lost[layer], rel=1e-3)
    assert 0.1 < made.worst < 1.0
    assert made.metadata == {"ss_network_dim": "8", "ss_network_alpha": "8"}


def test_dora_is_no_plain_lora(tmp_path: Path) -> None:
    file = save(tmp_path / "a", FORMS["DoRA"][1])
    with pytest.raises(SakugaError, match="what it adds depends on the model's weights, and no plain LoRA holds it"):
        convert(file, "diffusers")
    with pytest.raises(SakugaError, match="is a DoRA at"):
        combine([(file, 1.0), (file, 1.0)])


# Alpha that stands elsewhere


@pytest.mark.parametrize("rslora", [False, True])
def test_alpha_from_the_configuration_of_diffusers_and_peft(tmp_path: Path, rslora: bool) -> None:
    config = {"r": 4, "lora_alpha": 12, "alpha_pattern": {"blocks.1.attn2.to_q": 2.0}, "use_rslora": rslora}
    packed = {f"transformer.{key}": value for key, value in config.items()}
    file = save(tmp_path / "a", state(diffusers, alpha=None), {"lora_adapter_metadata": json.dumps(packed)})
    factor = 2.0 if rslora else 1.0  # the square root of the rank
    assert file.tensors["blocks.0.ffn.0"].alpha == 12.0 * factor
    assert file.tensors["blocks.1.cross_attn.q"].alpha == 2.0 * factor
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    named = save(tmp_path / "adapter_model.safetensors", state(lambda n: f"base_model.model.{n}", alpha=None))
    assert named.tensors["blocks.0.ffn.0"].alpha == 12.0 * factor
    assert save(tmp_path / "b", state(comfy, alpha=None)).tensors["blocks.0.ffn.0"].alpha == 4.0
    (tmp_path / "adapter_config.json").write_text("[", encoding="utf-8")
    with pytest.raises(SakugaError, match="is no JSON object, and without it nobody knows its alpha"):
        load_lora(tmp_path / "adapter_model.safetensors")


def test_the_bias_of_b_is_scaled_as_b_is(tmp_path: Path) -> None:
    """It stands within peft's second Linear, whose output alpha / rank multiplies."""
    tensors = state(diffusers, alpha=None, also={"lora_B.bias": LENGTHS[:, 0]})
    file = save(tmp_path / "a", tensors, {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 8})})
    assert torch.equal(file.shifts["blocks.0.ffn.0.bias"], 2 * LENGTHS[:96, 0])


def test_a_file_of_both_experts_gives_each_its_part(tmp_path: Path) -> None:
    high = state(diffusers, alpha=None)
    low = {key.replace("transformer.", "transformer_2."): 2 * tensor for key, tensor in high.items()}
    save(tmp_path / "a", high | low)
    first, second = load_lora(tmp_path / "a", "high"), load_lora(tmp_path / "a", "low")
    for layer in LAYERS:
        assert torch.equal(2 * first.tensors[layer].A, second.tensors[layer].A)
    assert first.unused == second.unused == []
    assert describe(tmp_path / "a").expert == "both, in one file"
    save(tmp_path / "b", low)
    assert load_lora(tmp_path / "b", "high").tensors.keys() == set(LAYERS)  # of one expert alone: for whom one likes


# Merging


def test_the_sum_of_loras_is_exact(tmp_path: Path) -> None:
    kinds = [
        state(comfy),
        state(kohya, lokr_parts),
        {k: v for k, v in state(comfy, alpha=None).items() if "blocks.1" in k},
    ]
    files = [
        (save(tmp_path / str(n), tensors), weight)
        for n, (tensors, weight) in enumerate(zip(kinds, (1.0, -0.5, 0.25), strict=True))
    ]
    made = combine(files)
    merged = written(made, tmp_path / "m")
    assert made.lost == {} and made.layers == len(LAYERS)
    for layer in LAYERS:
        there = [(file.layers[layer], weight) for file, weight in files if layer in file.layers]
        wanted = sum((w * c.matrix() for c, w in there), torch.zeros(()))  # type: ignore[union-attr]
        torch.testing.assert_close(merged.tensors[layer].matrix(), wanted, atol=1e-5, rtol=0)
    model = small_model()
    for file, weight in files:
        lora.apply(model, file, weight)
    torch.testing.assert_close(effect(merged), output(model), atol=2e-6, rtol=0)


def test_a_sum_cut_to_a_rank_is_the_best_of_it(tmp_path: Path) -> None:
    first = save(tmp_path / "a", state(comfy))
    other = {key: normal(70)(*tensor.shape) if tensor.ndim else tensor for key, tensor in state(comfy).items()}
    files = [(first, 1.0), (save(tmp_path / "b", other), 0.5)]
    exact, made = combine(files), combine(files, rank=5)
    cut, whole = written(made, tmp_path / "c"), written(exact, tmp_path / "d")
    for layer in LAYERS:
        matrix = whole.tensors[layer].matrix()
        values = torch.linalg.svdvals(matrix)
        assert whole.tensors[layer].rank == 8 and cut.tensors[layer].rank == 5
        assert made.lost[layer] == pytest.approx((values[5:].norm() / values.norm()).item(), rel=1e-2)
    same = combine([(first, 1.0), (first, 1.0)], rank=4)
    assert max(same.lost.values(), default=0) < 1e-5  # twice the same has no more rank than once


def test_a_sum_with_one_that_no_lora_holds_needs_a_rank(tmp_path: Path) -> None:
    whole = save(tmp_path / "a", state(comfy, lambda n: lokr_parts(n, whole=True), alpha=None))
    files = [(whole, 1.0), (save(tmp_path / "b", state(comfy)), 1.0)]
    with pytest.raises(SakugaError, match="a LoRA of that rank is larger than the layer; give --rank"):
        combine(files)
    assert combine(files, rank=8).worst > 0


def test_what_shifts_is_added_up(tmp_path: Path) -> None:
    file = save(tmp_path / "a", state(comfy, alpha=None, also={"diff_b": LENGTHS[:, 0]}))
    made = written(combine([(file, 1.0), (file, 0.5)], dtype=torch.float32), tmp_path / "b")
    bias = "blocks.0.ffn.0.bias"
    torch.testing.assert_close(made.shifts[bias], 1.5 * file.shifts[bias])


def test_loras_of_two_models_do_not_add_up(tmp_path: Path) -> None:
    wide = {"blocks.0.ffn.0": LoraTensors(torch.ones(1, 8), torch.ones(9, 1), 1.0)}
    save(tmp_path / "b", lora_state_dict(wide))
    with pytest.raises(
        SakugaError, match=r"are for models of other sizes \(blocks.0.ffn.0: 96 x 64 and 9 x 8\); merge LoRAs of one"
    ):
        combine([(save(tmp_path / "a", state(comfy)), 1.0), (load_lora(tmp_path / "b"), 1.0)])


def test_metadata_is_what_all_say_alike(tmp_path: Path) -> None:
    said = {"modelspec.trigger_phrase": "MyStyle", "ss_network_dim": "4", "sshs_model_hash": "0"}
    first = save(tmp_path / "a", state(comfy), said | {"modelspec.title": "one"})
    second = save(tmp_path / "b", state(comfy), said | {"modelspec.title": "two"})
    assert combine([(first, 1.0), (second, 1.0)]).metadata == {
        "modelspec.trigger_phrase": "MyStyle", "ss_network_dim": "8", "ss_network_alpha": "8",
    }  # fmt: skip
    assert convert(first, "kohya").metadata["modelspec.title"] == "one"


# Told


def test_a_file_is_described(tmp_path: Path) -> None:
    metadata = {
        "modelspec.timestep_range": "875,1000",
        "ss_base_model_version": "wan2.2",
        "modelspec.trigger_phrase": "MyStyle",
    }
    tensors = state(comfy) | {"odd.key": torch.ones(1)}
    tensors |= {"diffusion_model.blocks.0.norm3.diff": torch.ones(64)}
    file = save(tmp_path / "a", tensors, metadata)
    told = describe(tmp_path / "a")
    assert (told.kinds, told.ranks, told.alphas, told.blocks) == ({"LoRA": 20}, {4: 20}, {"8": 20}, 2)
    assert told.layers["ffn.0"] == 2 and len(told.layers) == 10 and told.types == {"float32": 20}
    assert told.expert == "high (timesteps 875 to 1000)" and told.base == "wan2.2" and told.trigger == "MyStyle"
    assert told.unused == ["odd.key"] and told.shifts == 1 and told.fits == []
    squares = sum(change.matrix().square().sum() for n, change in file.tensors.items() if n.startswith("blocks.1."))
    assert told.norms["1"] == pytest.approx(float(squares) ** 0.5, rel=1e-5)
    assert list(told.norms) == ["0", "1"] and told.hashes == lora.hashes(tmp_path / "a")


def test_a_file_tells_which_models_it_fits(tmp_path: Path) -> None:
    def fits(layer: str, out: int, into: int) -> list[str]:
        write_state(
            tmp_path / "a", lora_state_dict({layer: LoraTensors(torch.ones(1, into), torch.ones(out, 1), 1.0)}), {}
        )
        return describe(tmp_path / "a").fits

    assert fits("blocks.29.ffn.0", 14336, 3072) == ["Wan 2.2 TI2V 5B"]
    assert fits("blocks.31.self_attn.q", 3072, 3072) == []
    assert fits("blocks.39.cross_attn.k_img", 5120, 5120) == ["Wan 2.1 I2V 14B"]
    assert len(fits("blocks.39.ffn.2", 5120, 13824)) == 4


@pytest.mark.parametrize(
    ("low", "high", "name"), [(0.875, 1, "high"), (0.9, 1, "high"), (0, 0.875, "low"), (0, 1, "any")]
)
def test_the_expert_of_a_range(low: float, high: float, name: str) -> None:
    assert nearest_expert(low, high) == name


def test_what_is_written_can_be_read_of_any_layer(tmp_path: Path) -> None:
    assert size_of("blocks.0.ffn.0") == (SHAPE.ffn_dim, SHAPE.dim)
    made = convert(save(tmp_path / "a", state(kohya, loha_parts)), "kohya", rank=3, dtype=torch.bfloat16)
    assert {t.dtype for key, t in made.state.items() if not key.endswith("alpha")} == {torch.bfloat16}
