"""A critic of latents: which facts a noisy latent shows. While the transformer learns, the critic tells it what is missing.

What direction a subject moves in is a small part of a latent's variance, so the plain loss teaches it last. The critic is
trained on the drawn clips alone and is shipped nowhere; what is generated is judged by another network, on pixels.

Shapes: B batch, C channels, F latent frames, H W latent size.
"""

import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from training import cosine, seeds, set_rates

from data import FACTS, Clips
from sakuga.nn.flow import noise_latents

BATCH, WIDTH, STEPS = 96, 160, 500
NOISE = (
    0.3,
    0.9,
)  # what is shown to the critic has at least so much noise: only what is plain counts, not fine patterns


class Critic(nn.Module):
    """Latents [B, C, F, H, W] at noise t_B -> logits of every fact. The frames are channels: motion is seen at once."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.into = nn.Conv2d(channels * frames + 1, WIDTH, 3, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(3))
        self.norms = nn.ModuleList(nn.GroupNorm(8, WIDTH) for _ in range(3))
        self.heads = nn.ModuleDict({fact: nn.Linear(2 * WIDTH, len(values)) for fact, values in FACTS.items()})

    def forward(self, x_BCFHW: Tensor, t_B: Tensor) -> dict[str, Tensor]:
        flat = x_BCFHW.flatten(1, 2)
        y = self.into(torch.cat((flat, t_B.view(-1, 1, 1, 1).expand(-1, 1, *flat.shape[2:])), 1))
        for layer, norm in zip(self.layers, self.norms, strict=True):
            y = y + layer(F.silu(norm(y)))
        seen = torch.cat((y.mean((2, 3)), y.amax((2, 3))), 1)
        return {fact: head(seen) for fact, head in self.heads.items()}


def noise_level(count: int, generator: torch.Generator) -> Tensor:
    return NOISE[0] + (NOISE[1] - NOISE[0]) * torch.rand(count, generator=generator)


def doubt(critic: Critic, x_BCFHW: Tensor, labels: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Cross entropy [B] of each labelled fact, as the critic sees it in `x` under fresh noise."""
    t_B = noise_level(len(x_BCFHW), generator)
    noisy = noise_latents(x_BCFHW, torch.randn(x_BCFHW.shape, generator=generator), t_B)
    with torch.autocast("cpu", torch.bfloat16):
        logits = critic(noisy, t_B)
    return {fact: F.cross_entropy(logits[fact].float(), label, reduction="none") for fact, label in labels.items()}


def make_critic(clips: Clips, latents_NCFHW: Tensor, file: Path, seed: int) -> Critic:
    """The trained critic, from `file` where it stands."""
    torch.manual_seed(seed)
    critic = Critic(latents_NCFHW.shape[1], latents_NCFHW.shape[2])
    if file.exists():
        critic.load_state_dict(load_file(file))
        return critic.eval().requires_grad_(False)
    labels = {fact: torch.from_numpy(clips.labels(fact)) for fact in FACTS}
    held = len(clips.rows) // 12  # the last clips measure
    adam = torch.optim.AdamW(critic.parameters(), 2e-3, weight_decay=0.01, foreach=True)
    started = time.monotonic()
    for step in range(STEPS):
        rng, generator = seeds(seed, step)
        set_rates(min(1.0, (step + 1) / 20) * cosine(step / STEPS), adam)
        picked = torch.from_numpy(rng.integers(len(clips.rows) - held, size=BATCH))
        doubts = doubt(critic, latents_NCFHW[picked].float(), {f: v[picked] for f, v in labels.items()}, generator)
        loss = torch.stack(list(doubts.values())).mean(1).sum()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        if step % 100 == 99:
            print(f"critic {step + 1} {time.monotonic() - started:.0f}s loss {loss.item():.3f}", flush=True)
    critic.eval().requires_grad_(False)
    with torch.no_grad():
        x, generator = latents_NCFHW[-held:].float(), torch.Generator().manual_seed(seed)
        for t in (0.3, 0.6, 0.9):
            t_B = torch.full((held,), t)
            logits = critic(noise_latents(x, torch.randn(x.shape, generator=generator), t_B), t_B)
            right = {f: (logits[f].argmax(1) == labels[f][-held:]).float().mean().item() for f in FACTS}
            print(f"critic at noise {t}: " + " ".join(f"{f} {100 * v:.0f}" for f, v in right.items()), flush=True)
    save_file(critic.state_dict(), file)
    return critic
