"""Our loss and its LoRA gradient beside musubi-tuner's own code, for equal weights, latents, noise and noise levels.

    python benchmarks/musubi_loss.py --musubi PATH_TO_A_CHECKOUT

Called as a black box from the checkout (seen at commit 30c658c): the transformer, the LoRA network, and of its trainer the
noising, the call of the transformer and the loss, as a training step calls them. The tiny shape in fp32, with random
weights and with those of the base that comes with Sakuga; a LoRA whose both halves are random, so that both have a
gradient.

Two things differ, and each is taken out in turn:

    as they are        for noise level t the transformer is told 1000 t + 1 there, and 1000 t here, as by the samplers
    told the same      both are told 1000 t + 1; attention there rounds what it takes to bf16 whatever the precision is
    all in fp32        without that rounding: what remains is the order of sums
"""

import argparse
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import logging
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import machine
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.utils import is_torchvision_available

from sakuga import api
from sakuga.core.family import Member, member
from sakuga.core.models import of_project
from sakuga.nn import flow
from sakuga.nn.lora import LoraSet, inject
from sakuga.nn.text import pad_text
from sakuga.nn.transformer import WanTransformer
from sakuga.nn.weights import load_transformer

# What its files import beside what is measured: pictures, configuration files, the encoders of other models.
UNRELATED = ("toml", "torchvision", "voluptuous", "easydict", "ftfy", "sentencepiece", "tensorboard", "cv2", "av")
SIZES = ((96, 64, 1), (96, 64, 9), (64, 96, 17))  # width, height, frames
LEVELS = (0.02, 0.25, 0.5, 0.875, 0.98)
AS_THEY_ARE, TOLD_THE_SAME, ALL_FP32 = WAYS = ("as they are", "told the same", "all in fp32")
Found = tuple[float, dict[str, tuple[Tensor, Tensor]]]  # the loss, and the gradient of A and B of each layer
RANK, ALPHA = 8, 4.0
WORDS = 7  # tokens of a text


# Their code


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Empty modules for packages that are not installed and have no part in a step."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in UNRELATED:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = MagicMock(name=spec.name)
        module.__spec__, module.__path__ = spec, []
        return module  # type: ignore[return-value]

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is in it."""


class Theirs:
    """Their transformer with our weights, their LoRA on it with ours, and their trainer's step up to the loss."""

    def __init__(self, checkout: Path, wan: Member, ours: WanTransformer, lora: LoraSet) -> None:
        is_torchvision_available()  # remembered: transformers must not take the empty one for it
        sys.meta_path.append(Absent())  # after all others: only what none of them finds
        sys.path.insert(0, str(checkout / "src"))
        if not torch.cuda.is_available():
            torch.cuda.current_device = lambda: 0  # a default value of arguments that are not used here
        logging.disable(logging.WARNING)
        from musubi_tuner.networks import lora_wan
        from musubi_tuner.wan.modules.model import WanModel
        from musubi_tuner.wan_train_network import WanNetworkTrainer

        s = wan.transformer
        self.model = WanModel(
            model_type="t2v", text_len=wan.text.length, in_dim=s.in_channels, dim=s.dim, ffn_dim=s.ffn_dim,
            freq_dim=s.freq_dim, text_dim=s.text_dim, out_dim=s.out_channels, num_heads=s.heads, num_layers=s.layers,
            attn_mode="torch",  # their --sdpa
        )  # fmt: skip
        self.model.load_state_dict(ours.state_dict())
        self.model.requires_grad_(False)
        self.network = lora_wan.create_arch_network(1.0, RANK, ALPHA, None, [], self.model)
        self.network.apply_to(None, self.model, apply_text_encoder=False, apply_unet=True)
        self.layers = {layer.lora_name: layer for layer in self.network.unet_loras}
        for name, (a, b) in named(lora).items():
            self.layers[name].lora_down.weight.data.copy_(a)
            self.layers[name].lora_up.weight.data.copy_(b)
        assert len(self.layers) == len(named(lora)), "both put a LoRA on the same layers"
        self.trainer = WanNetworkTrainer()
        self.trainer.config = Namespace(patch_size=s.patch, v2_2=False)
        self.trainer._i2v_training = self.trainer._control_training = self.trainer.high_low_training = False

    def loss(self, batch: "Batch") -> Found:
        device, dtype = torch.device("cpu"), torch.float32
        args = Namespace(
            timestep_sampling="uniform", min_timestep=None, max_timestep=None, preserve_distribution_shape=False,
            gradient_checkpointing=False, weighting_scheme="none",
        )  # fmt: skip
        accelerator = MagicMock(device=device)
        noised, told = self.trainer.get_noisy_model_input_and_timesteps(
            args, batch.noise, batch.latent, batch.t.tolist(), None, device, dtype
        )
        texts = {"t5": batch.texts}
        output = self.trainer.call_dit(
            args, accelerator, self.model, batch.latent, texts, batch.noise, noised, told, dtype
        )
        loss, _ = self.trainer.compute_loss(args, output, told, None, dtype, dtype, 0)
        self.network.zero_grad()
        loss.backward()
        grads = {n: (x.lora_down.weight.grad.clone(), x.lora_up.weight.grad.clone()) for n, x in self.layers.items()}
        return loss.item(), grads

    @contextmanager
    def without_rounding(self) -> Iterator[None]:
        """Their attention by the same function of torch in the precision that it is given."""
        where = importlib.import_module("musubi_tuner.wan.modules.model")
        before = where.flash_attention

        def attention(qkv: list[Tensor], **_: Any) -> Tensor:
            return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in qkv)).transpose(1, 2)

        where.flash_attention = attention
        try:
            yield
        finally:
            where.flash_attention = before


def named(lora: LoraSet) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B of each layer under the names that theirs have."""
    return {f"lora_unet_{name.replace('.', '_')}": (x.A, x.B) for name, x in lora.layers.items()}


# Ours, and both beside each other


@dataclass(frozen=True)
class Batch:
    """Latents and noise [B, C, F, H, W], noise levels [B], texts [T, D] unpadded."""

    latent: Tensor
    noise: Tensor
    t: Tensor
    texts: list[Tensor]


def draw(wan: Member, size: tuple[int, int, int], levels: Sequence[float]) -> Batch:
    shape = (len(levels), *wan.latent_shape(*size))
    texts = [flow.noise_for((WORDS + n, wan.transformer.text_dim), "text", n) for n in range(len(levels))]
    return Batch(flow.noise_for(shape, "latent"), flow.noise_for(shape, "noise"), torch.tensor(levels), texts)


def random_model(wan: Member) -> WanTransformer:
    model = WanTransformer(wan.transformer)
    with torch.no_grad():
        for name, p in model.named_parameters():
            drawn = flow.noise_for(p.shape, "weight", name)
            p.copy_(1 + 0.1 * drawn if ".norm" in name and p.dim() == 1 and name.endswith("weight") else
                    drawn / (p[0].numel() ** 0.5 if p.dim() > 1 else 4))  # fmt: skip
    return model.requires_grad_(False)


def trained_model(wan: Member) -> WanTransformer:
    with tempfile.TemporaryDirectory() as folder, api.new(Path(folder) / "p", wan.name) as project:
        path = of_project(project)["transformer"]
        return load_transformer(wan.transformer, path, torch.float32, torch.device("cpu"))


def ours(wan: Member, model: WanTransformer, lora: LoraSet, batch: Batch, time: Callable[[Tensor], Tensor]) -> Found:
    """By the functions that a training step calls; `time` turns noise levels into what the transformer is told."""
    noised = flow.noise_latents(batch.latent, batch.noise, batch.t)
    velocity = model(noised, time(batch.t), pad_text(batch.texts, wan.text.length))
    loss = flow.losses(velocity, flow.target(batch.latent, batch.noise), batch.t).loss.mean()
    for parameter in lora.parameters():
        parameter.grad = None
    loss.backward()
    return loss.item(), {name: (a.grad.clone(), b.grad.clone()) for name, (a, b) in named(lora).items()}  # type: ignore[union-attr]


def compare(a: Found, b: Found) -> dict[str, float]:
    """Both losses, their relative difference, and that of the gradients as one vector."""
    flat = [torch.cat([g.flatten() for name in sorted(one[1]) for g in one[1][name]]) for one in (a, b)]
    gradient = ((flat[0] - flat[1]).norm() / flat[1].norm()).item()
    return {"ours": a[0], "theirs": b[0], "loss_differs": abs(a[0] - b[0]) / b[0], "gradient_differs": gradient}


def measure(weights: str, wan: Member, model: WanTransformer, checkout: Path) -> list[dict[str, Any]]:
    """A row for each size, noise level and way, and for a batch of all levels at once."""
    lora = inject(model, RANK, ALPHA, seed=1)
    with torch.no_grad():
        for name, layer in lora.layers.items():
            layer.B.copy_(0.1 * flow.noise_for(layer.B.shape, "B", name) / RANK**0.5)
    theirs = Theirs(checkout, wan, model, lora)
    rows = []
    for size, levels in [(size, [level]) for size in SIZES for level in LEVELS] + [(SIZES[1], list(LEVELS))]:
        batch = draw(wan, size, levels)
        same = ours(wan, model, lora, batch, lambda t: flow.model_time(t) + 1)
        found = {AS_THEY_ARE: compare(ours(wan, model, lora, batch, flow.model_time), theirs.loss(batch))}
        found[TOLD_THE_SAME] = compare(same, theirs.loss(batch))
        with theirs.without_rounding():
            found[ALL_FP32] = compare(same, theirs.loss(batch))
        rows += [{"weights": weights, "size": size, "t": levels, "how": how, **row} for how, row in found.items()]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--musubi", type=Path, required=True, help="a checkout of github.com/kohya-ss/musubi-tuner")
    options = parser.parse_args()
    wan = member("tiny")
    made = {"random": random_model, "trained": trained_model}
    rows = [row for name, make in made.items() for row in measure(name, wan, make(wan), options.musubi)]
    for row in rows:
        print("{weights:8} {how:14} {size!s:13} t {t!s:18} ours {ours:.7f} theirs {theirs:.7f} loss {loss_differs:.1e} "
              "gradient {gradient_differs:.1e}".format(**row))  # fmt: skip
    worst = {
        f"{weights}, {how}": {
            key: max(row[key] for row in rows if (row["weights"], row["how"]) == (weights, how))
            for key in ("loss_differs", "gradient_differs")
        }
        for weights in made for how in WAYS
    }  # fmt: skip
    command = ["git", "-C", options.musubi, "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    print(machine.write("musubi_loss", {"musubi": commit, "worst": worst, "rows": rows}))
    for how, found in worst.items():
        print(f"{how:24} loss {found['loss_differs']:.1e} gradient {found['gradient_differs']:.1e}")


if __name__ == "__main__":
    main()
