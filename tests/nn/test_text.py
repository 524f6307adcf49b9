"""The text door: parity with the official encoder and tokenizer, padding, and tokenizers of each kind.

Shapes: T text tokens, D width of the text.
"""

import io
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file

from official import official
from random_model import CAPTIONS, make_tiny
from sakuga.core.errors import SakugaError
from sakuga.core.family import FAMILY
from sakuga.nn.text import TIED, TextDoor, clean, load_text, load_tokenizer, pad_text

FACTS = FAMILY["tiny"].text
PROMPTS = ["MyStyle. a girl runs along the sea wall", "", "a &amp;amp; b\n\n  c", "a black cat in the rain " * 9]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tiny")
    make_tiny(FAMILY["tiny"], made)
    return made


@pytest.fixture(scope="module")
def tiny(folder: Path) -> TextDoor:
    return load_text(FACTS, folder / "text_encoder", folder / "tokenizer", torch.float32)


def official_encoder() -> Any:
    model = official("modules.t5").T5Encoder(
        FACTS.vocabulary, FACTS.dim, FACTS.heads * FACTS.head_dim, FACTS.ffn_dim, FACTS.heads, FACTS.layers,
        num_buckets=32, shared_pos=False,
    ).eval()  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(noise / p.shape[1] ** 0.5 if p.dim() > 1 else 1 + noise / 4)
            if key.endswith("attn.q.weight"):
                p /= FACTS.head_dim**0.5  # T5 does not scale its scores
    return model


@torch.no_grad()
def test_comfyuis_scaled_fp8(folder: Path, tmp_path: Path) -> None:
    """transformers' names, the large weights in fp8 with a scale each, and the tokenizer as a tensor."""
    weights = load_file(folder / "text_encoder" / "model.safetensors")
    stored, expected = dict(weights), dict(weights)
    for key in [key for key in weights if key.endswith((".q.weight", ".wo.weight", "shared.weight"))]:
        scale = weights[key].abs().max() / 448
        stored[key] = (weights[key] / scale).to(torch.float8_e4m3fn)
        stored[f"{key.removesuffix('weight')}scale_weight"] = scale
        expected[key] = stored[key].float() * scale
    stored |= {"scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn)}
    stored |= {"spiece_model": torch.frombuffer(bytearray(spiece()), dtype=torch.uint8)}
    save_file(stored, tmp_path / "umt5_xxl_fp8_e4m3fn_scaled.safetensors")
    save_file(expected, tmp_path / "plain.safetensors")
    found = load_text(FACTS, tmp_path / "umt5_xxl_fp8_e4m3fn_scaled.safetensors", None, torch.float32)
    plain = load_text(FACTS, tmp_path / "plain.safetensors", folder / "tokenizer", torch.float32)
    ids = torch.arange(3, 20)[None]
    assert torch.equal(found.model(input_ids=ids)[0], plain.model(input_ids=ids)[0])
    assert found.tokens("a girl")[-1] == 1


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@torch.no_grad()
def test_equals_official(folder: Path, tmp_path: Path, suffix: str) -> None:
    expected, file = official_encoder(), tmp_path / f"text{suffix}"
    if suffix == ".pth":
        torch.save(expected.state_dict(), file)
    else:
        save_file(expected.state_dict(), file)
    tokenizer = official("modules.tokenizers").HuggingfaceTokenizer(
        str(folder / "tokenizer"), seq_len=FACTS.length, clean="whitespace"
    )
    ids, mask = tokenizer(PROMPTS, return_mask=True, add_special_tokens=True)
    wanted = [u[:n] for u, n in zip(expected(ids, mask), mask.sum(1).tolist(), strict=True)]

    door = load_text(FACTS, file, folder / "tokenizer", torch.float32)
    found = door.encode(PROMPTS)
    assert [u.shape for u in found] == [u.shape for u in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        assert theirs.std() > 0.1, "the comparison would be between zeros"
        # Of the largest value: official code differs from itself by as much when the padding is left out.
        assert (ours - theirs).abs().max() <= 1e-6 * theirs.abs().max()


def test_the_company_of_a_prompt_changes_nothing(tiny: TextDoor) -> None:
    assert torch.equal(tiny.encode(PROMPTS)[0], tiny.encode(PROMPTS[:1])[0])


def test_long_prompts_are_cut_and_keep_their_end(tiny: TextDoor) -> None:
    short, long = tiny.tokens("a"), tiny.tokens(PROMPTS[3])
    assert len(long) == FACTS.length
    assert long[-1] == short[-1]


def test_the_tiny_tokenizer_keeps_a_prompt_whole(tiny: TextDoor) -> None:
    assert len(tiny.tokens(PROMPTS[0])) < FACTS.length
    assert len(set(map(tuple, map(tiny.tokens, ("漫画", "アニメ", "é", "E"))))) == 4


def test_padding_is_zeros(tiny: TextDoor) -> None:
    texts = tiny.encode(PROMPTS[:2])
    padded = pad_text(texts, FACTS.length)
    assert padded.shape == (2, FACTS.length, FACTS.dim)
    for row, text in zip(padded, texts, strict=True):
        assert torch.equal(row[: len(text)], text)
        assert row[len(text) :].abs().max() == 0


def test_cleaning() -> None:
    assert clean("  a &amp;amp; b\n\t c ") == "a & b c"


def spiece() -> bytes:
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CAPTIONS), model_writer=made, vocab_size=100, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        minloglevel=2,
    )  # fmt: skip
    return made.getvalue()


def test_the_tokenizer_inside_the_file(folder: Path, tmp_path: Path, tiny: TextDoor) -> None:
    weights, model = load_file(folder / "text_encoder" / "model.safetensors"), spiece()
    weights[TIED] = weights["shared.weight"].clone()
    save_file(
        weights | {"spiece_model": torch.frombuffer(bytearray(model), dtype=torch.uint8)}, tmp_path / "a.safetensors"
    )
    (tmp_path / "spiece.model").write_bytes(model)
    inside = load_text(FACTS, tmp_path / "a.safetensors", None, torch.float32)
    beside = load_text(FACTS, folder / "text_encoder", tmp_path, torch.float32)
    alone = load_tokenizer(tmp_path / "a.safetensors")
    for prompt in PROMPTS:
        ids = inside.tokens(prompt)
        assert ids == beside.tokens(prompt)
        assert len(ids) == FACTS.length or alone(clean(prompt)) == ids
        assert ids[-1] == 1
    assert torch.equal(inside.encode(PROMPTS)[0], beside.encode(PROMPTS)[0])
    assert inside.tokens(PROMPTS[0]) != tiny.tokens(PROMPTS[0])


def test_no_tokenizer(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SakugaError, match="carries no tokenizer"):
        load_text(FACTS, folder / "text_encoder", None)
    with pytest.raises(SakugaError, match="carries no tokenizer"):
        load_tokenizer(folder / "text_encoder" / "model.safetensors")
    with pytest.raises(SakugaError, match="holds no tokenizer"):
        load_text(FACTS, folder / "text_encoder", tmp_path)
