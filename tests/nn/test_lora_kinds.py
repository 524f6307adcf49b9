"""LoKr, LoHa, DoRA, whole differences and what is added to norms and biases: the same as peft, live and merged alike."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

import lora_readers as readers
from lora_readers import LAYERS, comfy, loha_parts, lokr_parts, normal, output, plain_parts, size_of, small_model, state
from sakuga.core.errors import SakugaError
from sakuga.nn import lora
from sakuga.nn.lora_changes import Dora, Full, Hadamard, Kron, LoraTensors, from_matrix, from_parts
from sakuga.nn.lora_fold import plain_weight
from sakuga.nn.lora_names import ENDINGS

ROWS, COLUMNS = 1 + normal(98)(96, 1).abs(), 1 + normal(97)(1, 96).abs()


def save(folder: Path, tensors: dict[str, Tensor]) -> Path:
    save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, folder / "a.safetensors")
    return folder / "a.safetensors"


KINDS: dict[str, dict[str, Tensor]] = {
    "LoRA": state(comfy),
    "LoKr": state(comfy, lokr_parts),
    "LoKr of whole factors": state(comfy, lambda n: lokr_parts(n, whole=True)),
    "LoHa": state(comfy, loha_parts),
    "diff": state(comfy, lambda n: {"diff": normal(3)(*size_of(n))}),
    "DoRA by rows": state(comfy, also={"dora_scale": ROWS}),
    "DoRA by columns": {
        key: tensor
        for layer in LAYERS
        for key, tensor in {
            f"{comfy(layer)}.lora_A.weight": plain_parts(layer)["A"],
            f"{comfy(layer)}.lora_B.weight": plain_parts(layer)["B"],
            f"{comfy(layer)}.dora_scale": COLUMNS[:, : size_of(layer)[1]],
        }.items()
    },
    "DoRA of LoKr": state(comfy, lokr_parts, also={"dora_scale": ROWS}),
    "biases": state(comfy, also={"diff_b": ROWS[:, 0]}),
}


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_live_and_merged_are_the_same(tmp_path: Path, kind: str, strength: float) -> None:
    file = lora.load_lora(save(tmp_path, KINDS[kind]))
    assert file.unused == [] and len(file.layers) == len(LAYERS)
    live, merged = small_model(), small_model()
    before, keys = output(live), list(live.state_dict())
    applied = lora.apply(live, file, strength)
    assert applied.unused == [] and set(LAYERS) <= set(applied.used)
    assert list(live.state_dict()) == keys
    effect = output(live)
    assert (effect - before).abs().max() > 0.01
    assert lora.merge(merged, file, strength).lost < 1e-6
    torch.testing.assert_close(output(merged), effect, atol=1e-6, rtol=0)
    applied.lora.set_strength(0.0)
    torch.testing.assert_close(output(live), before, atol=1e-6, rtol=0)
    applied.lora.set_strength(strength)
    assert torch.equal(output(live), effect)
    applied.lora.remove(live)
    assert torch.equal(output(live), before)


def in_peft(config: Any, parts: dict[str, Tensor], weight: Tensor) -> Tensor:
    """The output of a Linear with an adapter of peft's own, for the rows of the identity."""

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
            self.q.weight.data = weight.clone()

        def forward(self, x: Tensor) -> Tensor:
            return self.q(x)

    model: Any = peft.get_peft_model(One(), config)
    found = dict(model.named_parameters())
    for part, value in parts.items():
        (name,) = (n for n in found if f".{part}." in f"{n}.")
        found[name].data = value.clone()
    with torch.no_grad():
        out: Tensor = model.eval()(torch.eye(weight.shape[1]))
    return out


def ours(parts: dict[str, Tensor], alpha: float, weight: Tensor, magnitude: Tensor | None = None) -> Tensor:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight.data = weight.clone()
    change: Any = from_parts(parts, alpha)
    worn = lora.ChangedLinear(linear, change if magnitude is None else Dora(change, magnitude.reshape(-1, 1)))
    with torch.no_grad():
        return worn(torch.eye(weight.shape[1]))


def test_loha_is_that_of_peft() -> None:
    draw = normal(1)
    parts = {"hada_w1_a": draw(12, 3), "hada_w1_b": draw(3, 8), "hada_w2_a": draw(12, 3), "hada_w2_b": draw(3, 8)}
    weight = draw(12, 8)
    theirs = in_peft(peft.LoHaConfig(r=3, alpha=6, target_modules=["q"], init_weights=True), parts, weight)
    torch.testing.assert_close(ours(parts, 6.0, weight), theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("low", [True, False])
def test_lokr_is_that_of_peft(low: bool) -> None:
    draw = normal(2)
    weight = draw(64, 64)
    w2 = {"lokr_w2_a": draw(16, 3), "lokr_w2_b": draw(3, 16)} if low else {"lokr_w2": draw(16, 16)}
    parts = {"lokr_w1": draw(4, 4)} | w2
    # whole factors: LyCORIS files have a scale of 1 whatever their alpha, and peft alpha / r
    rank, alpha = (3, 6.0) if low else (64, 64)
    config = peft.LoKrConfig(r=rank, alpha=int(alpha), target_modules=["q"], decompose_factor=4)
    torch.testing.assert_close(ours(parts, alpha, weight), in_peft(config, parts, weight), atol=2e-6, rtol=0)


def test_dora_is_that_of_peft() -> None:
    draw = normal(3)
    weight, lengths = draw(12, 8), 1 + draw(12).abs()
    parts = {"A": draw(3, 8), "B": draw(12, 3)}
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=["q"], use_dora=True)
    named = {"lora_A": parts["A"], "lora_B": parts["B"], "lora_magnitude_vector": lengths}
    torch.testing.assert_close(
        ours(parts, 6.0, weight, lengths), in_peft(config, named, weight), atol=1e-6, rtol=0
    )  # fmt: skip


def test_a_core_between_the_factors() -> None:
    """With a core (t1, t2, mid) the first factor stands turned, as LyCORIS writes it; a kernel of one pixel is a core."""
    draw = normal(4)
    core = draw(3, 3, 1, 1)
    a, b = draw(3, 8), draw(3, 6)
    kron = from_parts({"lokr_w1": draw(2, 2), "lokr_w2_a": a, "lokr_w2_b": b, "lokr_t2": core}, None)
    assert isinstance(kron, Kron)
    torch.testing.assert_close(kron.w2, a.T @ core[:, :, 0, 0] @ b)
    a2, b2 = draw(8, 3), draw(3, 6)
    hada = from_parts({"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": a2, "hada_w2_b": b2, "hada_t1": core}, 3.0)
    assert isinstance(hada, Hadamard)
    torch.testing.assert_close(hada.matrix(), (a.T @ core[:, :, 0, 0] @ b) * (a2 @ b2))
    mid = from_parts({"A": draw(3, 6), "B": draw(8, 3), "mid": core}, 6.0)
    assert isinstance(mid, LoraTensors) and mid.scale == 2.0


CHANGES: dict[str, Callable[[], Any]] = {
    "LoRA": lambda: LoraTensors(normal(1)(4, 16), normal(2)(24, 4), 8.0),
    "LoKr": lambda: from_parts(
        {"lokr_w1": normal(1)(4, 2), "lokr_w2_a": normal(2)(6, 2), "lokr_w2_b": normal(3)(2, 8)}, -3.0
    ),
    "LoHa": lambda: from_parts(
        {"hada_w1_a": normal(1)(24, 2), "hada_w1_b": normal(2)(2, 16), "hada_w2_a": normal(3)(24, 2),
         "hada_w2_b": normal(4)(2, 16)}, 4.0,
    ),
    "diff": lambda: Full(normal(5)(24, 16)),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(CHANGES))
def test_what_every_kind_says_of_itself_is_true(kind: str) -> None:
    change = CHANGES[kind]()
    matrix = change.matrix()
    assert change.kind == kind and change.shape == tuple(matrix.shape) == (24, 16)
    assert torch.linalg.matrix_rank(matrix) <= change.rank
    assert change.norm() == pytest.approx(matrix.norm().item(), rel=1e-5)
    x = normal(9)(2, 3, 16)
    torch.testing.assert_close(change.act(x), x @ matrix.T, atol=1e-5, rtol=0)
    exact, lost = change.low_rank()
    torch.testing.assert_close(exact.matrix(), matrix, atol=1e-5, rtol=0)
    assert lost < 1e-5
    best, lost = change.low_rank(2)
    values = torch.linalg.svdvals(matrix)
    assert best.rank == 2 and lost == pytest.approx((values[2:].norm() / values.norm()).item(), rel=1e-3)
    assert ((best.matrix() - matrix).norm() / matrix.norm()).item() == pytest.approx(lost, rel=1e-3)


def test_a_matrix_of_nothing_has_a_lora() -> None:
    tensors, lost = from_matrix(torch.zeros(6, 4))
    assert tensors.rank == 1 and lost == 0.0 and not tensors.matrix().any()


# What is no Linear's weight


def test_norms_biases_and_modulation_are_shifted_and_come_back(tmp_path: Path) -> None:
    model = small_model()
    before = output(model)
    shifts = {
        "diffusion_model.blocks.0.norm3.diff": 0.3 * torch.ones(64),
        "diffusion_model.blocks.0.norm3.diff_b": 0.2 * torch.ones(64),
        "diffusion_model.blocks.1.self_attn.norm_q.diff": 0.3 * torch.ones(64),
        "diffusion_model.blocks.0.self_attn.v.diff_b": 0.3 * torch.ones(64),
        "diffusion_model.blocks.0.diff_m": 0.1 * torch.ones(1, 6, 64),
        "diffusion_model.blocks.1.modulation.diff": 0.1 * torch.ones(1, 6, 64),
        "diffusion_model.patch_embedding.diff": 0.02 * torch.ones_like(model.patch_embedding.weight),
    }
    file = lora.load_lora(save(tmp_path, shifts))
    assert file.unused == [] and len(file.shifts) == len(shifts) and not file.layers
    first = lora.apply(model, file)
    once = output(model)
    assert (once - before).abs().max() > 0.01
    second = lora.apply(model, file, 0.5)
    twice = output(model)
    first.lora.remove(model)
    assert not torch.equal(output(model), twice)
    second.lora.set_strength(1.0)
    torch.testing.assert_close(output(model), once, atol=1e-6, rtol=0)
    second.lora.remove(model)
    assert torch.equal(output(model), before)
    lora.merge_all(model, [(file, 0.75), (file, 0.25)])
    torch.testing.assert_close(output(model), once, atol=1e-6, rtol=0)


def test_a_convolution_takes_its_lora(tmp_path: Path) -> None:
    model = small_model()
    weight = model.patch_embedding.weight.detach().clone()
    A, B = normal(1)(4, *weight.shape[1:]), normal(2)(64, 4, 1, 1, 1)
    key = "diffusion_model.patch_embedding."
    file = lora.load_lora(save(tmp_path, {f"{key}lora_down.weight": A, f"{key}lora_up.weight": B}))
    applied = lora.apply(model, file)
    assert applied.unused == [] and applied.used == ["patch_embedding.weight"]
    added = torch.einsum("or,rcfhw->ocfhw", B[:, :, 0, 0, 0], A)
    torch.testing.assert_close(model.patch_embedding.weight, weight + added)


# Several at once


def test_several_loras_merge_as_they_are_worn(tmp_path: Path) -> None:
    """Every DoRA starts from the base's own weight, however many there are."""
    files = []
    for kind in ("LoRA", "DoRA by rows", "LoKr", "DoRA by columns"):
        (tmp_path / kind).mkdir()
        files.append((lora.load_lora(save(tmp_path / kind, KINDS[kind])), 0.3))
    live, merged, other = small_model(), small_model(), small_model()
    for file, strength in files:
        lora.apply(live, file, strength)
    lora.merge_all(merged, files)
    lora.merge_all(other, files[::-1])
    torch.testing.assert_close(output(merged), output(live), atol=2e-6, rtol=0)
    torch.testing.assert_close(output(merged), output(other), atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("dtype", "scaled", "most"),
    [
        (torch.bfloat16, False, 0.02),
        (torch.float8_e4m3fn, True, 0.5),
        (torch.float8_e4m3fn, False, 0.5),
        (torch.float8_e5m2, True, 0.8),
    ],
)
def test_merging_into_a_small_type_says_what_it_cost(dtype: torch.dtype, scaled: bool, most: float) -> None:
    model, exact = small_model(), small_model()
    for layer in LAYERS:
        linear: Any = model.get_submodule(layer)
        weight = linear.weight.detach()
        if scaled:
            linear.register_buffer("scale_weight", (weight.abs().max() / torch.finfo(dtype).max))
            weight = weight / linear.scale_weight
        linear.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
        exact.get_submodule(layer).weight.data = plain_weight(linear)
    file = lora.LoraFile(Path("x"), {n: LoraTensors(**plain_parts(n), alpha=1.0) for n in LAYERS})
    before = {layer: plain_weight(model.get_submodule(layer)) for layer in LAYERS}
    lost = lora.merge(model, file).lost
    lora.merge(exact, file)
    error = added = 0.0
    for layer in LAYERS:
        wanted: Any = exact.get_submodule(layer).weight
        error += (plain_weight(model.get_submodule(layer)) - wanted).square().sum().item()
        added += (wanted - before[layer]).square().sum().item()
    assert lost == pytest.approx((error / added) ** 0.5, rel=1e-3)
    assert 1e-4 < lost < most
    assert model.get_submodule(LAYERS[0]).weight.dtype == dtype


# What is wrong


def sentence(path: Path, model: nn.Module | None = None) -> str:
    with pytest.raises(SakugaError) as error:
        file = lora.load_lora(path)
        lora.apply(model or small_model(), file)
    said = str(error.value)
    assert "\n" not in said
    return said.replace(str(path), "FILE")


BAD: dict[str, tuple[dict[str, Tensor], str]] = {
    "nothing": ({}, "FILE holds no tensors; it is no LoRA, or its download failed"),
    "NaN": (
        KINDS["LoRA"] | {f"{comfy(LAYERS[3])}.lora_B.weight": torch.full((64, 4), torch.nan)},
        "FILE: blocks.0.self_attn.o is not made of numbers that a LoRA can have; the file is damaged or quantised, take another",
    ),
    "NaN in a LoKr": (
        KINDS["LoKr"] | {f"{comfy(LAYERS[3])}.lokr_w1": torch.full((4, 4), torch.inf)},
        "FILE: blocks.0.self_attn.o is not made of numbers",
    ),
    "a shift of NaN": (
        {"diffusion_model.blocks.0.norm3.diff": torch.full((64,), torch.nan)}, "FILE: blocks.0.norm3 is not made of numbers",
    ),
    "a magnitude of another size": (
        KINDS["LoRA"] | {f"{comfy(LAYERS[3])}.dora_scale": torch.ones(7, 1)},
        "FILE: the halves of blocks.0.self_attn.o are 64 x 64 and of lengths [7, 1]; the file is damaged, take another",
    ),
    "halves of a LoHa": (
        KINDS["LoHa"] | {f"{comfy(LAYERS[3])}.hada_w2_b": torch.ones(5, 64)},
        "FILE: the halves of blocks.0.self_attn.o have ranks 5 and 4; the file is damaged, take another",
    ),
    "a LoHa of two sizes": (
        KINDS["LoHa"] | {f"{comfy(LAYERS[3])}.hada_w2_b": torch.ones(4, 65)},
        "FILE: the halves of blocks.0.self_attn.o are of two sizes",
    ),
    "a LoKr that is no matrix": (
        KINDS["LoKr"] | {f"{comfy(LAYERS[3])}.lokr_w1": torch.ones(4)},
        "FILE: the halves of blocks.0.self_attn.o are no matrices",
    ),
    "SDXL": (
        {f"lora_unet_down_blocks_1_attentions_0_proj_in.{end}": torch.ones(4, 4) for end in ("lora_down.weight", "lora_up.weight")},
        "FILE has nothing that fits this model (down_blocks_1_attentions_0_proj_in); it is of Stable Diffusion; choose one for Wan",
    ),
    "Flux": (
        {f"transformer.single_transformer_blocks.0.attn.to_q.{end}": torch.ones(4, 4)
         for end in ("lora_A.weight", "lora_B.weight")},
        "it is of Flux or HunyuanVideo; choose one for Wan",
    ),
    "the 5B": (
        {f"diffusion_model.blocks.0.self_attn.q.{end}": torch.ones(*shape)
         for end, shape in (("lora_A.weight", (1, 3072)), ("lora_B.weight", (3072, 1)))},
        "FILE was made for another model: its blocks.0.self_attn.q is 3072 x 3072, this model's is 64 x 64; choose the model it "
        "was trained on (it has the widths of Wan 2.2 TI2V 5B)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", list(BAD))
def test_what_no_model_takes_is_a_sentence(tmp_path: Path, what: str) -> None:
    tensors, words = BAD[what]
    assert words in sentence(save(tmp_path, tensors))


def test_mixed_ranks_are_fine(tmp_path: Path) -> None:
    draw = normal(1)
    tensors: dict[str, Tensor] = {}
    for rank, layer in enumerate(LAYERS, 1):
        out, into = size_of(layer)
        tensors |= {f"{comfy(layer)}.lora_A.weight": draw(rank, into), f"{comfy(layer)}.lora_B.weight": draw(out, rank)}
    file = lora.load_lora(save(tmp_path, tensors))
    assert [change.rank for change in (file.layers[layer] for layer in LAYERS)] == list(range(1, len(LAYERS) + 1))
    assert lora.apply(small_model(), file).unused == []


FUZZ = int(os.environ.get("SAKUGA_FUZZ", "150"))
ODD_ENDINGS = st.sampled_from(sorted(ENDINGS))
ODD_SHAPES = st.sampled_from(
    [(), (0,), (1,), (4,), (64,), (4, 64), (64, 4), (4, 4), (16, 16), (64, 64), (4, 4, 1, 1), (1, 64)]
)
ODD_KINDS = st.sampled_from([torch.float32, torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64])


@settings(max_examples=FUZZ, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(ODD_ENDINGS, st.tuples(ODD_SHAPES, ODD_KINDS), min_size=1, max_size=7))
def test_any_parts_load_or_are_one_sentence(
    tmp_path: Path, parts: dict[str, tuple[tuple[int, ...], torch.dtype]]
) -> None:
    tensors = {
        comfy("blocks.0.self_attn.q") + ending: torch.ones(shape).to(kind) for ending, (shape, kind) in parts.items()
    }
    path = save(tmp_path, tensors)
    try:
        file = lora.load_lora(path)
        applied = lora.apply(small_model(), file)
        lora.merge(small_model(), file)
        assert applied.used or applied.unused
    except SakugaError as error:
        assert "\n" not in str(error) and len(str(error)) < 600


# The page


def test_the_page_of_who_reads_what_is_current() -> None:
    assert readers.PAGE.read_text(encoding="utf-8") == readers.page(), "run: python tests/lora_readers.py"
