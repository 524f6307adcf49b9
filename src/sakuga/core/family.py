"""Every fact about the Wan models, once. A member of the family is a row; nothing else in the code knows its name.

Sources: the official configurations (Wan 2.1 and 2.2, Apache-2.0), `Wan2.1_VAE`, and ComfyUI's file names.
Tiny members have the same shapes at a size that runs on any CPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .errors import SakugaError, nearest

LORA_ARCHITECTURE = "wan2.1/lora"  # modelspec.architecture, the one name that viewers know for every Wan LoRA
TRAIN_TIMESTEPS = 1000  # the transformer's timestep is this times t; t in (0, 1], 1 is pure noise

Role = Literal["transformer", "high", "low", "vae", "text", "tokenizer", "clip"]

NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，"
    "杂乱的背景，三条腿，背景人很多，倒着走"
)
# What makers of drawn styles add to it.
NEGATIVE_3D = ", 3D, MMD, MikuMikuDance, SFM, Source Filmmaker, Blender, Unity, Unreal, CGI, bad quality"


@dataclass(frozen=True)
class Transformer:
    """The shape of one transformer."""

    dim: int
    ffn_dim: int
    heads: int
    layers: int
    in_channels: int
    out_channels: int
    text_dim: int
    freq_dim: int = 256
    patch: tuple[int, int, int] = (1, 2, 2)  # frames, height, width
    clip_branch: bool = False  # k_img, v_img of Wan 2.1 image-to-video
    eps: float = 1e-6


@dataclass(frozen=True)
class Vae:
    """The shape of a causal 3D VAE: one first frame, then `stride[0]` frames to a latent frame."""

    name: str
    channels: int
    stride: tuple[int, int, int] = (4, 8, 8)  # frames, height, width
    base_dim: int = 96
    decoder_base_dim: int | None = None
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    res_blocks: int = 2
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    residual: bool = False
    patch: int | None = None  # pixels folded into channels before the first convolution
    pixel_channels: int = 3
    mean: tuple[float, ...] = ()  # of the latents, by channel, with `std`; a tiny VAE's stand in its own config.json
    std: tuple[float, ...] = ()


@dataclass(frozen=True)
class TextEncoder:
    """The shape of a UMT5 encoder, and the length that its output is padded to with zeros."""

    name: str
    dim: int
    ffn_dim: int
    heads: int
    head_dim: int
    layers: int
    length: int
    vocabulary: int


@dataclass(frozen=True)
class ClipVision:
    """The shape of a CLIP picture encoder, and the mean and deviation of the pixels it was trained on."""

    width: int
    ffn_dim: int
    heads: int
    layers: int
    size: int  # pixels of a side
    patch: int  # pixels of a side
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)  # R, G, B in [0, 1]
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    @property
    def tokens(self) -> int:
        """What a picture becomes: its patches, and one token for the whole."""
        return (self.size // self.patch) ** 2 + 1


@dataclass(frozen=True)
class Expert:
    """A transformer of a member, and the noise levels it is used at."""

    name: str
    t_min: float
    t_max: float
    guidance: float


PICKLED = (".pth", ".pt")  # files that could hold code: a process that can do nothing else reads them (nn/pickles.py)


@dataclass(frozen=True)
class ModelFile:
    """A file that a member needs: the names it goes by, its size as found in the wild, and where it is to be had."""

    role: Role
    names: tuple[str, ...]
    gigabytes: float
    source: str
    licence: str = "Apache-2.0"


@dataclass(frozen=True)
class FewSteps:
    """How models that were taught to need few steps are sampled, by a LoRA of that kind as a rule ("lightning")."""

    steps: int
    shift: float
    guidance: float
    sampler: str


FEW_STEPS = FewSteps(steps=4, shift=5.0, guidance=1.0, sampler="euler")


@dataclass(frozen=True)
class Member:
    """One model of the family."""

    name: str
    title: str
    task: Literal["t2v", "i2v", "ti2v"]
    transformer: Transformer
    vae: Vae
    text: TextEncoder
    experts: tuple[Expert, ...]
    fps: int
    frames: int
    shift: float
    steps: int
    sizes: tuple[tuple[int, int], ...]  # width, height; the first is the default
    files: tuple[ModelFile, ...]
    base_version: str  # as LoRA metadata names it
    dataset: Mapping[str, Mapping[str, Any]]  # sections of a new project, as [sections.NAME] of sakuga.toml
    recipe: Mapping[str, Any]  # [train] of a new project
    tiny: bool = False
    clip: ClipVision | None = None  # what sees the first frame, where the transformer has the branch for it

    @property
    def boundary(self) -> float | None:
        """The noise level from which the high expert is used (inclusive), or None with one expert."""
        return self.experts[0].t_min if len(self.experts) > 1 else None

    @property
    def needs_picture(self) -> bool:
        """Whether every video starts from a picture."""
        return self.task == "i2v"

    @property
    def takes_picture(self) -> bool:
        """Whether a video may start from a picture."""
        return self.task != "t2v"

    @property
    def given_channels(self) -> int:
        """Channels that join the noisy latents: mask and latents of the first frame. 0 where it is given as itself."""
        return self.transformer.in_channels - self.vae.channels

    @property
    def side_step(self) -> int:
        """Width and height are multiples of this: VAE stride times patch."""
        return self.vae.stride[1] * self.transformer.patch[1]

    def floor_frames(self, frames: int) -> int:
        """The largest number of frames the VAE takes (a whole number of strides after the first) that is <= `frames`."""
        stride = self.vae.stride[0]
        return (frames - 1) // stride * stride + 1 if frames >= 1 else 0

    def latent_shape(self, width: int, height: int, frames: int) -> tuple[int, int, int, int]:
        """(channels, latent frames, latent height, latent width) of a video."""
        t, h, w = self.vae.stride
        return (self.vae.channels, (frames - 1) // t + 1, height // h, width // w)

    def tokens(self, width: int, height: int, frames: int) -> int:
        """How many tokens the transformer sees for a video."""
        _, f, h, w = self.latent_shape(width, height, frames)
        pf, ph, pw = self.transformer.patch
        return (f // pf) * (h // ph) * (w // pw)

    def expert(self, name: str) -> Expert:
        for expert in self.experts:
            if expert.name == name:
                return expert
        names = [e.name for e in self.experts]
        raise SakugaError(f"{self.name} has no expert '{name}', it has {', '.join(names)}{nearest(name, names)}")

    def expert_at(self, t: float) -> Expert:
        """The expert that official sampling uses at noise level `t` (already shifted); the boundary is inclusive."""
        return self.experts[0] if len(self.experts) == 1 or t >= self.experts[0].t_min else self.experts[1]


def _one(guidance: float) -> tuple[Expert, ...]:
    return (Expert("full", 0.0, 1.0, guidance),)


def _two(boundary: float, high: float, low: float) -> tuple[Expert, ...]:
    return (Expert("high", boundary, 1.0, high), Expert("low", 0.0, boundary, low))


VAE_21 = Vae(
    "wan2.1", channels=16,
    mean=(
        -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632,
        -0.1922, -0.9497, 0.2503, -0.2921,
    ),
    std=(
        2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579,
        1.6382, 1.1253, 2.8251, 1.9160,
    ),
)  # fmt: skip
VAE_22 = Vae(
    "wan2.2", channels=48, stride=(4, 16, 16), base_dim=160, decoder_base_dim=256, residual=True,
    temporal_downsample=(False, True, True), patch=2, pixel_channels=12,
    mean=(
        -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891,
        0.1570, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
        -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723,
        -0.2839, -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
    ),
    std=(
        0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901,
        0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
        0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944,
        0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
    ),
)  # fmt: skip
# 32 channels: 16 cannot hold hard outlines (a linear code of an 8 x 8 patch: 22 dB). Shortcuts without weights learn faster.
VAE_TINY = Vae(
    "tiny", channels=32, base_dim=16, dim_mult=(2, 4, 4), res_blocks=1, residual=True, temporal_downsample=(True, True),
    patch=2, pixel_channels=12,
)  # fmt: skip
UMT5_XXL = TextEncoder("umt5-xxl", 4096, 10240, 64, 64, 24, 512, 256384)
CLIP_H = ClipVision(1280, 5120, 16, 32, 224, 14)
UMT5_TINY = TextEncoder("umt5-tiny", 128, 256, 4, 32, 2, 32, 512)

SIZE_1_3B = Transformer(1536, 8960, 12, 30, 16, 16, 4096)
SIZE_14B = Transformer(5120, 13824, 40, 40, 16, 16, 4096)
SIZE_14B_IMAGE_CLIP = Transformer(5120, 13824, 40, 40, 36, 16, 4096, clip_branch=True)
SIZE_14B_IMAGE = Transformer(5120, 13824, 40, 40, 36, 16, 4096)
SIZE_5B = Transformer(3072, 14336, 24, 30, 48, 48, 4096)
SIZE_TINY = Transformer(192, 768, 4, 6, 32, 32, 128, freq_dim=64)

COMFY_21 = "https://huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged"
COMFY_22 = "https://huggingface.co/Comfy-Org/Wan_2.2_ComfyUI_Repackaged"
OFFICIAL = "https://huggingface.co/Wan-AI"

_VAE_21_FILE = ModelFile("vae", ("wan_2.1_vae.safetensors", "Wan2.1_VAE.pth", "vae"), 0.5, COMFY_21)
_VAE_22_FILE = ModelFile("vae", ("wan2.2_vae.safetensors", "Wan2.2_VAE.pth", "vae"), 2.8, COMFY_22)
_TEXT_FILE = ModelFile(
    "text",
    (
        "umt5_xxl_fp16.safetensors",
        "models_t5_umt5-xxl-enc-bf16.pth",
        "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
        "text_encoder",
    ),
    11.4,
    COMFY_21,
)
_TOKENIZER = ModelFile("tokenizer", ("google/umt5-xxl", "umt5-xxl", "tokenizer"), 0.02, f"{OFFICIAL}/Wan2.1-T2V-14B")
_CLIP_FILE = ModelFile(
    "clip",
    ("clip_vision_h.safetensors", "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth", "image_encoder"),
    1.3,
    COMFY_21,
)
_TEXT = (_TEXT_FILE, _TOKENIZER)
# What experienced makers start from: stills at 512, short clips at an area of 384 squared.
_STILLS: Mapping[str, Any] = {"items": "stills", "resolution": (512, 512)}
_CLIPS: Mapping[str, Any] = {"items": "clips", "resolution": (384, 384), "rule": "head", "frames": (21, 45)}
_DATASET = {"stills": _STILLS, "clips": _CLIPS}
_CLIP_DATASET = {"clips": _CLIPS}  # image-to-video learns nothing from a still
_RECIPE = {"rank": 32, "learning_rate": 2e-5, "epochs": 30}
_LANDSCAPE_480, _LANDSCAPE_720 = (832, 480), (1280, 720)
_TINY_SIZES = ((96, 64),)
_TINY_FRAMES = 9
_TINY_DATASET: Mapping[str, Mapping[str, Any]] = {
    "stills": {"items": "stills", "resolution": _TINY_SIZES[0]},
    "clips": {"items": "clips", "resolution": _TINY_SIZES[0], "rule": "uniform", "frames": (_TINY_FRAMES,), "count": 2},
}
_TINY_RECIPE = {"rank": 8, "learning_rate": 3e-3, "epochs": 10}


def _made(*roles_and_names: tuple[Role, str]) -> tuple[ModelFile, ...]:
    """The files of a tiny member, which `sakuga new` makes on the spot."""
    return tuple(ModelFile(role, (name,), 0.01, "`sakuga new`") for role, name in roles_and_names)


_TINY_PARTS: tuple[tuple[Role, str], ...] = (("vae", "vae"), ("text", "text_encoder"), ("tokenizer", "tokenizer"))


def _transformer(role: Role, gigabytes: float, source: str, *names: str) -> ModelFile:
    return ModelFile(role, names, gigabytes, source)


MEMBERS: tuple[Member, ...] = (
    Member(
        "wan2.1-t2v-1.3b", "Wan 2.1 T2V 1.3B", "t2v", SIZE_1_3B, VAE_21, UMT5_XXL, _one(5.0), 16, 81, 5.0, 50,
        (_LANDSCAPE_480,),
        (_transformer("transformer", 2.8, COMFY_21, "wan2.1_t2v_1.3B_bf16.safetensors", "wan2.1_t2v_1.3B_fp16.safetensors",
                      "Wan2.1-T2V-1.3B", "transformer"), _VAE_21_FILE, *_TEXT),
        "wan2.1-t2v-1.3b", _DATASET, _RECIPE,
    ),
    Member(
        "wan2.1-t2v-14b", "Wan 2.1 T2V 14B", "t2v", SIZE_14B, VAE_21, UMT5_XXL, _one(5.0), 16, 81, 5.0, 50,
        (_LANDSCAPE_720, _LANDSCAPE_480),
        (_transformer("transformer", 28.6, COMFY_21, "wan2.1_t2v_14B_bf16.safetensors", "wan2.1_t2v_14B_fp16.safetensors",
                      "wan2.1_t2v_14B_fp8_scaled.safetensors", "wan2.1_t2v_14B_fp8_e4m3fn.safetensors", "Wan2.1-T2V-14B",
                      "transformer"), _VAE_21_FILE, *_TEXT),
        "wan2.1-t2v-14b", _DATASET, _RECIPE,
    ),
    Member(
        "wan2.1-i2v-14b", "Wan 2.1 I2V 14B", "i2v", SIZE_14B_IMAGE_CLIP, VAE_21, UMT5_XXL, _one(5.0), 16, 81, 5.0, 40,
        (_LANDSCAPE_720, _LANDSCAPE_480),
        (_transformer("transformer", 32.8, COMFY_21, "wan2.1_i2v_720p_14B_bf16.safetensors",
                      "wan2.1_i2v_480p_14B_bf16.safetensors", "wan2.1_i2v_720p_14B_fp8_scaled.safetensors",
                      "wan2.1_i2v_480p_14B_fp8_scaled.safetensors", "Wan2.1-I2V-14B-720P", "transformer"),
         _VAE_21_FILE, *_TEXT, _CLIP_FILE),
        "wan2.1-i2v-14b", _CLIP_DATASET, _RECIPE, clip=CLIP_H,
    ),
    Member(
        "wan2.2-t2v-a14b", "Wan 2.2 T2V A14B", "t2v", SIZE_14B, VAE_21, UMT5_XXL, _two(0.875, high=4.0, low=3.0),
        16, 81, 12.0, 40, (_LANDSCAPE_720, _LANDSCAPE_480),
        (_transformer("high", 28.6, COMFY_22, "wan2.2_t2v_high_noise_14B_fp16.safetensors",
                      "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", "high_noise_model", "transformer"),
         _transformer("low", 28.6, COMFY_22, "wan2.2_t2v_low_noise_14B_fp16.safetensors",
                      "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors", "low_noise_model", "transformer_2"),
         _VAE_21_FILE, *_TEXT),
        "wan2.2-t2v-a14b", _DATASET, _RECIPE,
    ),
    Member(
        "wan2.2-i2v-a14b", "Wan 2.2 I2V A14B", "i2v", SIZE_14B_IMAGE, VAE_21, UMT5_XXL, _two(0.900, high=3.5, low=3.5),
        16, 81, 5.0, 40, (_LANDSCAPE_720, _LANDSCAPE_480),
        (_transformer("high", 28.6, COMFY_22, "wan2.2_i2v_high_noise_14B_fp16.safetensors",
                      "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors", "high_noise_model", "transformer"),
         _transformer("low", 28.6, COMFY_22, "wan2.2_i2v_low_noise_14B_fp16.safetensors",
                      "wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors", "low_noise_model", "transformer_2"),
         _VAE_21_FILE, *_TEXT),
        "wan2.2-i2v-a14b", _CLIP_DATASET, _RECIPE,
    ),
    Member(
        "wan2.2-ti2v-5b", "Wan 2.2 TI2V 5B", "ti2v", SIZE_5B, VAE_22, UMT5_XXL, _one(5.0), 24, 121, 5.0, 50,
        ((1280, 704),),
        (_transformer("transformer", 10.0, COMFY_22, "wan2.2_ti2v_5B_fp16.safetensors", "Wan2.2-TI2V-5B",
                      "transformer"),
         _VAE_22_FILE, *_TEXT),
        "wan2.2-ti2v-5b", _DATASET, _RECIPE,
    ),
    Member(
        "tiny", "Tiny Wan", "t2v", SIZE_TINY, VAE_TINY, UMT5_TINY, _one(3.0), 16, _TINY_FRAMES, 3.0, 20, _TINY_SIZES,
        _made(("transformer", "transformer.safetensors"), *_TINY_PARTS),
        "sakuga-tiny", _TINY_DATASET, _TINY_RECIPE, tiny=True,
    ),
    Member(
        "tiny-experts", "Tiny Wan with two experts", "t2v", SIZE_TINY, VAE_TINY, UMT5_TINY,
        _two(0.875, high=3.0, low=3.0), 16, _TINY_FRAMES, 3.0, 20, _TINY_SIZES,
        _made(("high", "high_noise_model.safetensors"), ("low", "low_noise_model.safetensors"), *_TINY_PARTS),
        "sakuga-tiny-experts", _TINY_DATASET, _TINY_RECIPE, tiny=True,
    ),
)  # fmt: skip

FAMILY: dict[str, Member] = {m.name: m for m in MEMBERS}


def member(name: str) -> Member:
    """The row of that name; a name that is not in the table is an error that shows the nearest one."""
    if name in FAMILY:
        return FAMILY[name]
    raise SakugaError(f"'{name}' is not a model Sakuga knows{nearest(name, list(FAMILY))} (known: {', '.join(FAMILY)})")
