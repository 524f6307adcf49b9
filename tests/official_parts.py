"""The parts of the official code with the weights of ours, or with random ones, as the parity tests compare them.

Shapes: B batch, C channels, F latent frames, H W latent size, T text tokens, D width.
"""

from typing import Any

import torch
from diffusers import WanTransformer3DModel
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from diffusers_vae import make_vae
from torch import Tensor, nn

from official import official
from sakuga.core.family import Transformer, Vae
from sakuga.nn.transformer import WanTransformer
from sakuga.nn.vae import official_key
from sakuga.nn.vae_network import VaeNetwork

TEXT_LENGTH = 12


def randomise(model: nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) / (p[0].numel() ** 0.5 if p.dim() > 1 else 4))


def ours(shape: Transformer) -> WanTransformer:
    model = WanTransformer(shape).eval()
    randomise(model)
    return model


def noise(*size: int, seed: int = 1) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def official_model(model: WanTransformer, kind: str) -> Any:
    s = model.shape
    other = official("modules.model").WanModel(
        model_type=kind, text_len=TEXT_LENGTH, in_dim=s.in_channels, dim=s.dim, ffn_dim=s.ffn_dim, freq_dim=s.freq_dim,
        text_dim=s.text_dim, out_dim=s.out_channels, num_heads=s.heads, num_layers=s.layers,
    )  # fmt: skip
    other.load_state_dict(model.state_dict())
    return other.eval()


def pad(texts: list[Tensor]) -> Tensor:
    return torch.stack([torch.cat((u, u.new_zeros(TEXT_LENGTH - len(u), u.shape[1]))) for u in texts])


def diffusers_model(model: WanTransformer) -> Any:
    s = model.shape
    other = WanTransformer3DModel(
        num_attention_heads=s.heads, attention_head_dim=s.dim // s.heads, in_channels=s.in_channels,
        out_channels=s.out_channels, text_dim=s.text_dim, freq_dim=s.freq_dim, ffn_dim=s.ffn_dim, num_layers=s.layers,
        image_dim=1280 if s.clip_branch else None, added_kv_proj_dim=s.dim if s.clip_branch else None,
    )  # fmt: skip
    other.load_state_dict(convert_wan_transformer_to_diffusers(dict(model.state_dict())))
    return other.eval()


def diffusers_vae(network: VaeNetwork) -> Any:
    other, ours = make_vae(network.facts).to_empty(device="cpu"), network.state_dict()
    other.load_state_dict({key: ours[official_key(key, network.facts)] for key in other.state_dict()})
    return other.eval()


def official_scheduler(name: str, steps: int, shift: float) -> Any:
    """The scheduler, set as the official text-to-video generation sets it."""
    settings = {"num_train_timesteps": 1000, "shift": 1, "use_dynamic_shifting": False}
    if name == "unipc":
        scheduler = official("utils.fm_solvers_unipc").FlowUniPCMultistepScheduler(**settings)
        scheduler.set_timesteps(steps, device="cpu", shift=shift)
        return scheduler
    module = official("utils.fm_solvers")
    kind = "sde-dpmsolver++" if name == "dpm++sde" else "dpmsolver++"
    scheduler = module.FlowDPMSolverMultistepScheduler(algorithm_type=kind, **settings)
    module.retrieve_timesteps(scheduler, device="cpu", sigmas=module.get_sampling_sigmas(steps, shift))
    return scheduler


def official_vae(facts: Vae) -> Any:
    name, sizes = "modules.vae2_1", {"dim": facts.base_dim}
    if facts.residual:
        name, sizes = "modules.vae2_2", {"dim": facts.base_dim, "dec_dim": facts.decoder_base_dim}
    model = official(name).WanVAE_(
        z_dim=facts.channels, dim_mult=list(facts.dim_mult), num_res_blocks=facts.res_blocks,
        temperal_downsample=list(facts.temporal_downsample), **sizes,
    ).eval()  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(1 + noise / 4 if key.endswith("gamma") else noise / (p[0].numel() ** 0.5 if p.dim() > 1 else 4))
    return model
