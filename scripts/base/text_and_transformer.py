"""Trains the tiny text encoder and transformer together by flow matching, on clips of the base look.

Stills first, then clips; the text encoder is frozen for the last part. `--experts` goes on from the finished single
transformer and makes a high and a low one of it. Needs the drawn data and the folder that vae.py wrote, whose encoder
is final once its clips stage is done. Killed and started again, it continues.

Shapes: B batch, C channels, F latent frames, H W latent size, T text tokens, D width of the text.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from critic import Critic, doubt, make_critic
from diffusers_vae import load_vae
from names import (
    CONFIG_FILE,
    END,
    OTHER_CAPTIONS,
    PAD,
    TEXT_FILE,
    TEXT_FOLDER,
    TOKENIZER_FILE,
    TOKENIZER_FOLDER,
    TRANSFORMER_FILES,
    UNKNOWN,
)  # fmt: skip
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from training import Average, Clock, Muon, prepare, seeds, set_rates
from vae import to_pixels
from whole_clip import encode

from data import FACTS, Clips
from sakuga.core.family import FAMILY, NEGATIVE_PROMPT, SIZE_TINY, UMT5_TINY, VAE_TINY, TextEncoder, Transformer, Vae
from sakuga.core.noise import shift_time, unshift_time
from sakuga.nn.flow import flow_loss, model_time, noise_latents, target
from sakuga.nn.text import clean, make_text, text_config
from sakuga.nn.transformer import WanTransformer

MEMBER = FAMILY["tiny"]
EXPERTS = FAMILY["tiny-experts"]
STILL_FRAMES = (0, 4, 8)  # of each clip, as stills
DROPPED = 0.10  # of the captions, for guidance: half of them nothing, half the negative prompt
SAID = ("subject", "colour", "time", "place", "direction")  # by every caption
BLIND = 0.88  # above this noise a clip itself shows little: a fact that the critic finds there came by the words
TRIGGERED = 0.15  # get a meaningless word in front, so that the base ignores a LoRA's trigger
MOTION = 0.5  # weight of the change between latent frames: the same minimiser, but direction is learned sooner
MUON, ADAM = 0.02, 1e-3


class Stage(NamedTuple):
    name: str
    share: float  # of the minutes
    batch: int
    stills: bool
    learn_text: bool
    rates: tuple[float, float]  # at its start and its end, on a straight line
    critic: float  # weight of the critic's doubt in a fact that the caption says
    t_range: tuple[float, float] = (0.0, 1.0)
    keep: float = 0.998  # of the moving average


STAGES = (
    Stage("stills", 0.07, 48, True, True, (1.0, 1.0), 0.0),
    Stage("clips", 0.58, 32, False, True, (1.0, 1.0), 0.01),
    Stage("full", 0.35, 32, False, False, (1.0, 0.02), 0.003),
)
EXPERT_STAGES = tuple(
    Stage(e.name, 0.5, 32, False, False, (0.3, 0.01), 0.003, t_range=(e.t_min, e.t_max)) for e in EXPERTS.experts
)  # fmt: skip


# Text


def make_tokenizer(captions: list[str], facts: TextEncoder, folder: Path) -> Tokenizer:
    """Bytes and pieces of the captions' words, ended by the end mark."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator((*captions, *OTHER_CAPTIONS), trainers.BpeTrainer(
        vocab_size=facts.vocabulary, special_tokens=[PAD, END, UNKNOWN], initial_alphabet=alphabet, show_progress=False,
    ))  # fmt: skip
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, tokenizer.token_to_id(END))]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / TOKENIZER_FILE))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "eos_token": END, "pad_token": PAD, "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": UNKNOWN,
    }, indent=2) + "\n")  # fmt: skip
    return tokenizer


def nonsense(rng: np.random.Generator) -> str:
    """A word that means nothing, such as a LoRA's trigger is."""

    def name() -> str:
        pairs = ("".join(rng.choice(list(letters)) for letters in ("bcdfghjklmnprstvwxz", "aeiouy"))
                 for _ in range(rng.integers(1, 4)))  # fmt: skip
        return ("".join(pairs) + str(rng.choice(["", "n", "x", "le", "st"]))).capitalize()

    return name() + (name() if rng.uniform() < 0.3 else "")


def spoken(rng: np.random.Generator, captions: list[str]) -> str:
    """A wording of a clip as training shows it."""
    if rng.uniform() < DROPPED:
        return "" if rng.uniform() < 0.5 else NEGATIVE_PROMPT
    text = captions[rng.integers(len(captions))]
    return f"{nonsense(rng)}. {text}" if rng.uniform() < TRIGGERED else text


def tokenised(tokenizer: Tokenizer, texts: list[str], length: int) -> tuple[Tensor, Tensor]:
    """Ids and mask [B, length]; a text that was cut keeps its end mark."""
    ids = torch.zeros(len(texts), length, dtype=torch.long)
    mask = torch.zeros(len(texts), length)
    for row, text in enumerate(texts):
        given = tokenizer.encode(clean(text)).ids
        given = given if len(given) <= length else [*given[: length - 1], given[-1]]
        ids[row, : len(given)] = torch.tensor(given)
        mask[row, : len(given)] = 1
    return ids, mask


def new_text(facts: TextEncoder, generator: torch.Generator) -> nn.Module:
    """Random weights as T5 begins with."""
    model = make_text(text_config(facts)).to_empty(device="cpu")
    model.encoder.embed_tokens.weight = model.shared.weight
    for name, p in model.named_parameters():
        std = {
            "shared": 1.0,
            "q": (facts.dim * facts.head_dim) ** -0.5,
            "relative_attention_bias": facts.dim**-0.5,
        }.get(name.split(".")[-2], p.shape[-1] ** -0.5)
        p.data = torch.ones(p.shape) if p.ndim == 1 else std * torch.randn(p.shape, generator=generator)
    return model.requires_grad_(True)


def new_transformer(shape: Transformer, generator: torch.Generator) -> WanTransformer:
    """As the official code begins: Xavier, the head at zero."""
    model = WanTransformer(shape)
    for name, p in model.named_parameters():
        if name.endswith("modulation"):
            p.data = torch.randn(p.shape, generator=generator) / shape.dim**0.5
        elif name.startswith("head.head") or name.endswith("bias"):
            p.data.zero_()
        elif p.ndim > 1:
            out, into = p.shape[0], p[0].numel()
            embeds = name.startswith(("time_embedding", "text_embedding"))
            p.data = (0.02 if embeds else (2 / (out + into)) ** 0.5) * torch.randn(p.shape, generator=generator)
    return model


# Latents


@torch.no_grad()
def latents_of(clips: Clips, folder: Path, row: Vae, file: Path) -> dict[str, Tensor]:
    """Normalised latents of every clip [N, C, F, H, W] and of three frames of each as stills [N, 3, C, 1, H, W]."""
    if not file.exists():
        door = load_vae(row, folder)
        count = len(clips.pixels)
        made = {"clips": [], "stills": []}  # type: dict[str, list[Tensor]]
        for at in range(0, count, 8):
            pixels = to_pixels(clips.pixels[at : at + 8])
            stills = pixels[:, :, list(STILL_FRAMES)].transpose(1, 2).flatten(0, 1)[:, :, None]
            with torch.autocast("cpu", torch.bfloat16):
                moving, still = encode(door.model, pixels)[0], encode(door.model, stills)[0]
            made["clips"].append(((moving - door.mean) * door.scale).half())
            made["stills"].append(((still - door.mean) * door.scale).unflatten(0, (-1, len(STILL_FRAMES))).half())
        save_file({name: torch.cat(each) for name, each in made.items()}, file)
    return load_file(file)


# Training


class Both(nn.Module):
    def __init__(self, text: nn.Module, transformer: WanTransformer) -> None:
        super().__init__()
        self.text, self.transformer = text, transformer

    def forward(self, x_BCFHW: Tensor, t_B: Tensor, ids_BT: Tensor, mask_BT: Tensor, learn_text: bool) -> Tensor:
        with torch.set_grad_enabled(learn_text):
            text_BTD = self.text(input_ids=ids_BT, attention_mask=mask_BT)[0].float() * mask_BT[..., None]
        return self.transformer(x_BCFHW, model_time(t_B), text_BTD)


def optimisers(both: Both, learn_text: bool) -> tuple[Muon, torch.optim.AdamW]:
    both.text.requires_grad_(learn_text)
    named = [(name, p) for name, p in both.named_parameters() if p.requires_grad]
    inner = [p for name, p in named if ".blocks." in name and name.endswith("weight") and p.ndim == 2]
    held = {id(p) for p in inner}
    rest = [p for _, p in named if id(p) not in held]
    return Muon(inner, MUON), torch.optim.AdamW(rest, ADAM, betas=(0.9, 0.99), weight_decay=0, foreach=True)


def noise_levels(rng: np.random.Generator, count: int, t_range: tuple[float, float], shift: float) -> Tensor:
    """Uniform before the shift, one in each of `count` equal parts of the range."""
    low, high = (unshift_time(t, shift) for t in t_range)
    u = (rng.permutation(count) + rng.uniform(size=count)) / count
    return shift_time(torch.from_numpy(low + (high - low) * u).float().clamp_min(1e-4), shift)


class Lesson(NamedTuple):
    """What a step draws from: latents by kind, the clips they were made of, their facts, and who looks on."""

    latents: dict[str, Tensor]
    clips: Clips
    labels: dict[str, Tensor]
    tokenizer: Tokenizer
    critic: Critic


def loss_of(both: Both, stage: Stage, lesson: Lesson, seed: tuple[int, ...]) -> tuple[Tensor, dict[str, Tensor]]:
    """The step's loss, and its parts to log: the flow's, and how much the critic doubts each fact at high noise."""
    rng, generator = seeds(*seed)
    picked = rng.integers(len(lesson.clips.rows), size=stage.batch)
    if stage.stills:
        x_BCFHW = lesson.latents["stills"][picked, rng.integers(len(STILL_FRAMES), size=stage.batch)].float()
    else:
        x_BCFHW = lesson.latents["clips"][picked].float()
    texts = [spoken(rng, lesson.clips.rows[i]["captions"]) for i in picked]
    t_B = noise_levels(rng, stage.batch, stage.t_range, MEMBER.shift)
    noise = torch.randn(x_BCFHW.shape, generator=generator)
    noisy, goal = noise_latents(x_BCFHW, noise, t_B), target(x_BCFHW, noise)
    with torch.autocast("cpu", torch.bfloat16):
        v = both(noisy, t_B, *tokenised(lesson.tokenizer, texts, UMT5_TINY.length), stage.learn_text).float()
    loss = flow_loss(v, goal).mean()
    parts = {"flow": loss.detach()}
    if not stage.stills:
        loss = loss + MOTION * flow_loss(v.diff(dim=2), goal.diff(dim=2)).mean()
    if stage.critic:
        clean = noisy - t_B.view(-1, 1, 1, 1, 1) * v
        doubts = doubt(lesson.critic, clean, {fact: lesson.labels[fact][picked] for fact in SAID}, generator)
        said = torch.tensor([text not in ("", NEGATIVE_PROMPT) for text in texts]).float()
        loss = loss + stage.critic * sum((each * said).mean() for each in doubts.values())
        blind = (t_B > BLIND) & (said > 0)
        parts |= {fact: each[blind].mean().detach() for fact, each in doubts.items() if blind.any()}
    return loss, parts


def write(both: Both, facts: TextEncoder, out: Path, name: str) -> None:
    """The transformer as `name`, and the text encoder beside it."""

    def halves(model: nn.Module) -> dict[str, Tensor]:
        return {key: p.detach().half().contiguous() for key, p in model.named_parameters()}

    save_file(halves(both.transformer), out / name)
    folder = out / TEXT_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    save_file(halves(both.text), folder / TEXT_FILE, metadata={"format": "pt"})
    config = {"architectures": ["UMT5EncoderModel"], "model_type": "umt5", "tie_word_embeddings": True}
    (folder / CONFIG_FILE).write_text(json.dumps(config | text_config(facts), indent=2, sort_keys=True) + "\n")


def train(stage: Stage, number: int, both: Both, lesson: Lesson, args: Any) -> None:
    muon, adam = optimisers(both, stage.learn_text)
    average = Average((p for p in both.parameters() if p.requires_grad), stage.keep)
    clock = Clock(
        args.out / f"transformer-{stage.name}.pt", args.out / "transformer.log", stage.share * args.minutes,
        both=both, muon=muon, adam=adam, average=average,
    )  # fmt: skip
    file = TRANSFORMER_FILES.get(stage.name, TRANSFORMER_FILES["full"])
    shown, written, logged = time.monotonic(), time.monotonic(), []  # type: float, float, list[dict[str, Tensor]]
    while clock.progress < 1:
        start, end = stage.rates
        set_rates(min(1.0, (clock.step + 1) / 30) * (start + (end - start) * clock.progress), muon, adam)
        loss, parts = loss_of(both, stage, lesson, (args.seed, number, clock.step))
        muon.zero_grad(set_to_none=True)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(average.live, 1.0)
        muon.step()
        adam.step()
        average.update()
        logged.append(parts)
        clock.tick()
        if time.monotonic() - shown > 20 or clock.progress >= 1:
            figures = " ".join(f"{name} {mean_of(name, logged):.4f}" for name in ("flow", *SAID))
            clock.log(f"{stage.name} {clock.step} {clock.seconds:.0f}s {figures}")
            shown, logged = time.monotonic(), []
            if time.monotonic() - written > 300:  # something to look at while it trains
                average.swap()
                write(both, UMT5_TINY, args.out, file)
                average.swap()
                written = time.monotonic()
            clock.pause()
    average.swap()
    write(both, UMT5_TINY, args.out, file)


def mean_of(name: str, logged: list[dict[str, Tensor]]) -> float:
    values = [parts[name].item() for parts in logged if name in parts]
    return float(np.mean(values)) if values else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--vae", type=Path, required=True, help="the VAE's folder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=44)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--experts", action="store_true", help="make the two experts of the finished transformer")
    args = parser.parse_args()
    prepare()
    args.out.mkdir(parents=True, exist_ok=True)
    clips = Clips(args.data, "base")
    captions = [text for row in clips.rows for text in row["captions"]]
    tokenizer = make_tokenizer(captions, UMT5_TINY, args.out / TOKENIZER_FOLDER)
    latents = latents_of(clips, args.vae, VAE_TINY, args.out / "latents.safetensors")
    critic = make_critic(clips, latents["clips"], args.out / "critic.safetensors", args.seed)
    labels = {fact: torch.from_numpy(clips.labels(fact)) for fact in FACTS}
    lesson = Lesson(latents, clips, labels, tokenizer, critic)
    generator = torch.Generator().manual_seed(args.seed)
    both = Both(new_text(UMT5_TINY, generator), new_transformer(SIZE_TINY, generator))
    for block in both.transformer.blocks:
        block.compile(dynamic=False)  # twice as fast; 40 s of compiling for each stage
    if not args.experts:
        for number, stage in enumerate(STAGES):
            train(stage, number, both, lesson, args)
        return
    both.text.load_state_dict(
        whole(args.out / TEXT_FOLDER / TEXT_FILE), strict=False
    )  # the tied embedding is not there
    for number, stage in enumerate(EXPERT_STAGES, len(STAGES)):
        both.transformer.load_state_dict(whole(args.out / TRANSFORMER_FILES["full"]))
        train(stage, number, both, lesson, args)


def whole(file: Path) -> dict[str, Tensor]:
    """The weights of a file in fp32."""
    return {name: tensor.float() for name, tensor in load_file(file).items()}


if __name__ == "__main__":
    main()
