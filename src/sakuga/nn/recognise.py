"""What a weight file is, from the names and shapes of its tensors alone: no weight is read.

Two things tensors do not tell: the experts of Wan 2.2 have the shapes of Wan 2.1, and of each other. There the file's name
may say which it is; else only its owner knows.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import SakugaError
from ..core.family import CLIP_H, MEMBERS, PICKLED, ClipVision, Member, Role, TextEncoder, Transformer, Vae
from ..core.weight_files import expert_by_name, few, read_header, sizes, weight_files
from .keys import original_key

Shapes = Mapping[str, tuple[int, ...]]
Part = Transformer | Vae | TextEncoder | ClipVision

MODEL_ROLES = ("transformer", "high", "low")
PRECISIONS = {
    "F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8 (e4m3)", "F8_E5M2": "fp8 (e5m2)"
}  # fmt: skip
_SCALE = re.compile(r".*\.(scale_weight|weight_scale)|scaled_fp8")
_LORA = re.compile(
    r".*\.(lora_[AB](\.default)?\.weight|lora_(down|up)\.weight|lora\.(down|up)\.weight|lokr_w[12](_[ab])?|hada_w[12]_[ab]"
    r"|dora_scale|diff|diff_b)"
)
_NARROW = re.compile(r".*\.(lora_A(\.default)?|lora_down|lora\.down)\.weight")  # [rank, width of what goes in]
_ATTENTION = re.compile(r".*blocks[._]\d+[._](self_attn[._]q|attn1[._]to_q)\..*")
_BLOCK = re.compile(r"blocks\.(\d{1,4})\.")
_UMT5 = "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight"  # T5 has it in its first layer alone

# Relatives and strangers, by a name that only they have.
_RELATIVES = (
    ("vace_blocks.", "a VACE model of Wan"),
    ("img_emb.emb_pos", "a first-and-last-frame model of Wan"),
    ("face_adapter.", "an Animate model of Wan"),
    ("casual_audio_encoder.", "a speech-to-video model of Wan"),
)
_STRANGERS = (
    (r"conditioner\.embedders\.1\.|.*\.label_emb\.", "an SDXL checkpoint, not of Wan"),
    (r"(model\.diffusion_model\.)?input_blocks\.|cond_stage_model\.", "a Stable Diffusion checkpoint, not of Wan"),
    (r".*txt_in\.individual_token_refiner\.", "a HunyuanVideo transformer, not of Wan"),
    (r"(model\.diffusion_model\.)?double_blocks\.", "a Flux transformer, not of Wan"),
    (r".*joint_blocks\.", "a Stable Diffusion 3 transformer, not of Wan"),
    (r"(model\.diffusion_model\.)?transformer_blocks\.", "a transformer of another model, not of Wan"),
    (r"text_model\.|(model\.)?layers\.\d+\.self_attn\.", "a text encoder of another model, not of Wan"),
)
_REMEDIES = {
    "lora": "give it to --lora", "transformer": "it belongs to models.transformer, models.high or models.low",
    "vae": "it belongs to models.vae", "text": "it belongs to models.text", "clip": "it belongs to models.clip",
    "other": "`sakuga models` lists what is needed",
}  # fmt: skip
_WANTED = {
    "transformer": "a transformer of Wan", "vae": "a VAE of Wan", "text": "UMT5", "clip": "CLIP's picture encoder",
}  # fmt: skip


@dataclass(frozen=True)
class Content:
    """What a weight file is."""

    kind: str  # transformer, vae, text, clip, lora or other
    title: str  # as a sentence has it: "the transformer of Wan 2.1 T2V 1.3B"
    members: tuple[str, ...] = ()  # of the family, those it can be a part of
    precision: str = ""  # "bf16", "fp8 (e4m3), scaled"
    expert: str | None = None  # high or low, where its name says so

    @property
    def ask(self) -> str:
        """What only the owner of the file can say; empty where its tensors and its name say all."""
        two = {m.name for m in MEMBERS if m.boundary}
        if self.kind != "transformer" or self.expert or not two & set(self.members):
            return ""
        return (
            "its tensors do not tell which: give it as models.high or models.low, or as models.transformer for a model of "
            "one expert"
        )

    def serves(self, role: str, member: Member) -> bool:
        """Whether it can be that part of that member."""
        roles = MODEL_ROLES if self.kind == "transformer" else (self.kind,)
        return role in roles and member.name in self.members and self.expert in (None, role)


def recognise(path: Path) -> Content:
    """Raises SakugaError where `path` cannot be read, or is a .gguf."""
    files = weight_files(path)
    if any(file.suffix == ".gguf" for file in files):
        raise SakugaError(f"{path} is a GGUF file, which Sakuga does not read; take the .safetensors of the same model")
    shapes: dict[str, tuple[int, ...]] = {}
    kinds: dict[str, int] = {}
    for file in files:
        if file.suffix in PICKLED:
            shapes |= _pickled(file)
        elif file.suffix == ".safetensors":
            header = read_header(file)
            shapes |= {key: info.shape for key, info in header.items()}
            kinds = {kind: kinds.get(kind, 0) + size for kind, size in sizes(header).items()}
        else:
            raise SakugaError(f"{file} holds no weights that Sakuga knows; give a .safetensors or .pth file")
    return _with_precision(content(shapes, path), kinds, shapes)


def _pickled(file: Path) -> Shapes:
    from .pickles import read_pickle  # brings in torch

    return {key: tuple(tensor.shape) for key, tensor in read_pickle(file)}


def _with_precision(found: Content, kinds: Mapping[str, int], shapes: Shapes) -> Content:
    most = max(kinds, key=lambda kind: kinds[kind], default="")
    scaled = ", scaled" if any(_SCALE.fullmatch(key) for key in shapes) else ""
    precision = PRECISIONS.get(most, most) + scaled if most else ""
    return Content(found.kind, found.title, found.members, precision, found.expert)


def content(shapes: Shapes, path: Path) -> Content:
    """What tensors of these names and shapes are; `path` is asked for the expert alone."""
    if any(_LORA.fullmatch(key) for key in shapes):
        return _lora(shapes, path)
    original = {original_key(key): shape for key, shape in shapes.items()}
    for tell in (_transformer, _vae, _text, _clip):
        if found := tell(original, path):
            return found
    for pattern, title in _STRANGERS:
        if any(re.match(pattern, key) for key in shapes):
            return Content("other", title)
    return Content("other", f"none of Wan's files ({few(shapes) or 'it is empty'})")


def mistaken(path: Path, role: Role, facts: Part) -> str | None:
    """What to say where `path` did not fit as `role` of the shape `facts`: what it is. None where it is just that, or unknown."""
    found = recognise(path)
    if found.kind != role:
        return f"{path} is {found.title}, not {_WANTED[role]}; {_REMEDIES[found.kind]}"
    if not found.members or any(facts in _parts(m) for m in MEMBERS if m.name in found.members):
        return None
    return f"{path} is {found.title}, which is not the model chosen; give that model's file, or choose another --model"


def _parts(member: Member) -> tuple[Part, ...]:
    return member.transformer, member.vae, member.text, CLIP_H


def _transformer(shapes: Shapes, path: Path) -> Content | None:
    first = shapes.get("patch_embedding.weight", ())
    if len(first) != 5 or not _layers(shapes):
        return None
    for mark, title in _RELATIVES:
        if any(key.startswith(mark) for key in shapes):
            return Content("other", f"{title}, which Sakuga does not know")
    branch = any(key.startswith("img_emb.") for key in shapes)
    ffn = shapes.get("blocks.0.ffn.0.weight") or (0,)
    facts = (first[0], ffn[0], _layers(shapes), first[1], branch)
    fitting = [m for m in MEMBERS if _facts(m.transformer) == facts]
    if not fitting:
        return Content(
            "transformer",
            f"a transformer of Wan's kind with {facts[2]} layers of width {facts[0]} and {facts[3]} channels in",
        )
    expert = expert_by_name(path) if any(m.boundary for m in fitting) else None
    if expert:
        fitting = [m for m in fitting if m.boundary]
    return Content("transformer", _either(fitting, expert), tuple(m.name for m in fitting), expert=expert)


def _layers(shapes: Shapes) -> int:
    return 1 + max((int(found[1]) for key in shapes if (found := _BLOCK.match(key))), default=-1)


def _facts(shape: Transformer) -> tuple[int, int, int, int, bool]:
    return shape.dim, shape.ffn_dim, shape.layers, shape.in_channels, shape.clip_branch


def _either(members: list[Member], expert: str | None) -> str:
    """ "the transformer of A, or an expert of B"."""
    which = f"the {expert} expert" if expert else "an expert"
    return ", or ".join(f"{which if m.boundary else 'the transformer'} of {m.title}" for m in members)


def _vae(shapes: Shapes, path: Path) -> Content | None:
    first = shapes.get("encoder.conv1.weight") or shapes.get("encoder.conv_in.weight") or ()
    latent = shapes.get("conv2.weight") or shapes.get("post_quant_conv.weight") or ()
    if len(first) not in (4, 5):
        return None
    facts = (first[0], first[1], latent[0] if latent else 0)
    if len(first) == 4:
        return Content("other", "a VAE for pictures")
    fitting = [m for m in MEMBERS if _vae_facts(m.vae) == facts]
    if not fitting:
        return Content("vae", f"a VAE of Wan's kind with {facts[2]} channels, starting from {facts[0]}")
    return Content("vae", f"the VAE of {_titles(fitting)}", tuple(m.name for m in fitting))


def _vae_facts(vae: Vae) -> tuple[int, int, int]:
    return vae.base_dim, vae.pixel_channels, vae.channels


def _titles(members: list[Member]) -> str:
    return ", ".join(member.title for member in members)


def _text(shapes: Shapes, path: Path) -> Content | None:
    table = shapes.get("token_embedding.weight") or shapes.get("shared.weight") or ()
    if len(table) != 2:
        return None
    fitting = [m for m in MEMBERS if _text_facts(m.text) == table]
    if not fitting:
        ours = "token_embedding.weight" in shapes or _UMT5 in shapes
        return Content("text" if ours else "other", f"a T5 text encoder of {table[0]} tokens and width {table[1]}")
    return Content("text", f"the text encoder {fitting[0].text.name}", tuple(m.name for m in fitting))


def _text_facts(text: TextEncoder) -> tuple[int, int]:
    return text.vocabulary, text.dim


def _clip(shapes: Shapes, path: Path) -> Content | None:
    names = ("visual.patch_embedding.weight", "vision_model.embeddings.patch_embedding.weight")
    first = next((shapes[name] for name in (*names, "embeddings.patch_embedding.weight") if name in shapes), ())
    if len(first) != 4:
        return None
    if not _sees_as(CLIP_H, first):
        return Content("other", "a CLIP of another size")
    users = tuple(m.name for m in MEMBERS if m.transformer.clip_branch)
    return Content("clip", "CLIP's picture encoder (ViT-H)", users)


def _sees_as(facts: ClipVision, first: tuple[int, ...]) -> bool:
    return first == (facts.width, 3, facts.patch, facts.patch)


def _lora(shapes: Shapes, path: Path) -> Content:
    widths = {shape[-1] for key, shape in shapes.items() if _ATTENTION.fullmatch(key) and _is_narrow(key, shape)}
    fitting = [m for m in MEMBERS if m.transformer.dim in widths]
    expert = expert_by_name(path)
    which = f" ({expert} expert)" if expert else ""
    if fitting:
        return Content("lora", f"a LoRA for {_titles(fitting)}{which}", tuple(m.name for m in fitting), expert=expert)
    return Content("lora", "a LoRA" if any(map(_ATTENTION.fullmatch, shapes)) else "a LoRA, but not for Wan")


def _is_narrow(key: str, shape: tuple[int, ...]) -> bool:
    return bool(_NARROW.fullmatch(key)) and len(shape) == 2


def candidates(folder: Path) -> Iterator[tuple[Path, Content]]:
    """The .safetensors in a models folder, ComfyUI's tree with its drawers too, and what each is; unreadable ones are not told."""
    for file in sorted(
        {*folder.glob("*.safetensors"), *folder.glob("*/*.safetensors"), *folder.glob("*/*/*.safetensors")}
    ):
        try:
            yield file, recognise(file)
        except SakugaError:
            continue


def contents(survey: list[dict[str, Any]], member: Member, folder: Path) -> list[dict[str, Any]]:
    """The rows of `core.models.survey`, each with what its file is; where none is found, with one that would do."""
    others = list(candidates(folder)) if any(not row["path"] for row in survey) else []
    return [row | _told(row, member, others) for row in survey]


def _told(row: Mapping[str, Any], member: Member, others: list[tuple[Path, Content]]) -> dict[str, Any]:
    told = {"content": "", "precision": "", "would_do": ""}
    if not row["path"]:
        would_do = next((path for path, found in others if found.serves(row["role"], member)), None)
        return told | {"would_do": str(would_do) if would_do else ""}
    path = Path(row["path"])
    if row["role"] == "tokenizer" or path.suffix in PICKLED:  # another process reads these, which takes seconds
        return told
    try:
        found = recognise(path)
    except SakugaError as error:
        return told | {"content": f"not to be used: {error}"}
    fits = found.serves(row["role"], member)
    return told | {
        "content": found.title if fits else f"not what is needed: {found.title}",
        "precision": found.precision,
    }
