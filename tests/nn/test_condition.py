"""What members that start from a picture are given, and what comes of it, against the official pipelines and diffusers'.

The official sampling loops (WanI2V, WanTI2V) are told anew here over the official transformer, VAE and schedulers, with
tiny random weights: their own functions load the real files on a GPU.

Shapes: B batch, C channels, F frames or latent frames, H W size, T text or image tokens, D width.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanImageToVideoPipeline
from torch import Tensor

from official import official
from official_parts import (
    diffusers_model,
    diffusers_vae,
    noise,
    official_model,
    official_scheduler,
    official_vae,
    ours,
    pad,
)
from sakuga.core.errors import SakugaError
from sakuga.core.family import FAMILY, VAE_21, VAE_22, Member, Transformer
from sakuga.nn.condition import FREE, Condition, check_picture, conditioned, from_picture
from sakuga.nn.denoise import generate_latents
from sakuga.nn.render import size_for
from sakuga.nn.vae import VaeDoor, load_vae
from sampled import walk

SMALL_21, SMALL_22 = replace(VAE_21, base_dim=8), replace(VAE_22, base_dim=8, decoder_base_dim=8)
SHAPE = Transformer(96, 160, 4, 2, 36, 16, 32, freq_dim=32)
I2V = replace(FAMILY["wan2.2-i2v-a14b"], transformer=SHAPE, vae=SMALL_21)
CLIP = replace(FAMILY["wan2.1-i2v-14b"], transformer=replace(SHAPE, clip_branch=True), vae=SMALL_21)
TI2V = replace(FAMILY["wan2.2-ti2v-5b"], transformer=replace(SHAPE, in_channels=48, out_channels=48), vae=SMALL_22)
FRAMES, WIDTH, HEIGHT, STEPS = 9, 64, 32, 5
WORDS = [noise(9, 32, seed=5)]
NEGATIVE = [noise(4, 32, seed=6)]


def picture() -> Tensor:
    return noise(1, 3, HEIGHT, WIDTH, seed=7).tanh()


@pytest.fixture(scope="module")
def vaes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Any, VaeDoor]]]:
    """The official VAE and ours, of the same weights, for each of the two."""
    found = {}
    for facts in (SMALL_21, SMALL_22):
        file = tmp_path_factory.mktemp("vae") / "vae.pth"
        theirs = official_vae(facts)
        torch.save(theirs.state_dict(), file)
        found[facts.name] = theirs, load_vae(facts, file)
    yield found


def given(member: Member, vae: VaeDoor, clip_BTD: Tensor | None = None) -> Condition:
    return from_picture(member, vae, picture()[:, :, None], FRAMES, clip_BTD)


def official_encoding(member: Member, vae: Any, pixels_CFHW: Tensor) -> Tensor:
    return vae.encode(pixels_CFHW[None], [torch.tensor(member.vae.mean), 1 / torch.tensor(member.vae.std)]).float()[0]


def official_y(vae: Any) -> Tensor:
    """What the official image-to-video code joins to the noise."""
    lat_h, lat_w = HEIGHT // 8, WIDTH // 8
    msk = torch.ones(1, FRAMES, lat_h, lat_w)
    msk[:, 1:] = 0
    msk = torch.concat([torch.repeat_interleave(msk[:, 0:1], repeats=4, dim=1), msk[:, 1:]], dim=1)
    msk = msk.view(1, msk.shape[1] // 4, 4, lat_h, lat_w).transpose(1, 2)[0]
    shown = torch.concat([picture().transpose(0, 1), torch.zeros(3, FRAMES - 1, HEIGHT, WIDTH)], dim=1)
    return torch.concat([msk, official_encoding(I2V, vae, shown)])


@torch.no_grad()
def test_what_joins_the_noise_is_the_official_one(vaes: dict[str, tuple[Any, VaeDoor]]) -> None:
    theirs, door = vaes["wan2.1"]
    condition = given(I2V, door)
    assert condition.image_BCFHW is not None and condition.first_BCFHW is None
    assert condition.image_BCFHW.shape == (1, 20, 3, 4, 8)
    assert (condition.image_BCFHW[0] - official_y(theirs)).abs().max() <= 2e-6


@pytest.mark.parametrize("sampler", ["unipc", "dpm++"])
@torch.no_grad()
def test_image_to_video_is_sampled_as_officially(sampler: str, vaes: dict[str, tuple[Any, VaeDoor]]) -> None:
    theirs, door = vaes["wan2.1"]
    models = {"high": ours(SHAPE), "low": ours(SHAPE)}
    for p in models["low"].parameters():
        p.mul_(0.9)
    start = noise(1, *I2V.latent_shape(WIDTH, HEIGHT, FRAMES), seed=8)

    officials = {name: official_model(model, "i2v") for name, model in models.items()}
    latent, y, tokens, used = start[0], official_y(theirs), 3 * 2 * 4, []
    scheduler = official_scheduler(sampler, STEPS, 5.0)
    for t in scheduler.timesteps:
        name = "high" if t.item() >= 0.9 * 1000 else "low"
        used.append(name)
        how = {"t": torch.stack([t]), "seq_len": tokens, "y": [y]}
        cond = officials[name]([latent], context=WORDS, **how)[0]
        uncond = officials[name]([latent], context=NEGATIVE, **how)[0]
        noise_pred = uncond + {"high": 3.5, "low": 3.0}[name] * (cond - uncond)
        latent = scheduler.step(noise_pred[None], t, latent[None], return_dict=False)[0][0]

    steps: list[str] = []
    found = generate_latents(
        models, I2V, pad(WORDS), pad(NEGATIVE), noise_BCFHW=start, condition=given(I2V, door), sampler=sampler, steps=STEPS,
        shift=5.0, guidance={"high": 3.5, "low": 3.0}, on_step=lambda report: steps.append(report.expert),
    )  # fmt: skip
    assert steps == used and len(set(used)) == 2
    assert latent.std() > 0.1, "the comparison would be between zeros"
    assert (found[0] - latent).abs().max() <= 1e-5


@pytest.mark.parametrize("image", [True, False], ids=["from a picture", "from words"])
@pytest.mark.parametrize("sampler", ["unipc", "dpm++"])
@torch.no_grad()
def test_ti2v_is_sampled_as_officially(sampler: str, image: bool, vaes: dict[str, tuple[Any, VaeDoor]]) -> None:
    theirs, door = vaes["wan2.2"]
    model = ours(TI2V.transformer)
    start = noise(1, *TI2V.latent_shape(WIDTH, HEIGHT * 2, FRAMES), seed=8)
    seen = torch.nn.functional.interpolate(picture(), (HEIGHT * 2, WIDTH))[:, :, None]

    other, masks_like = official_model(model, "ti2v"), official("utils.utils").masks_like
    latent, tokens = start[0], 3 * 2 * 2
    _, mask2 = masks_like([latent], zero=image)
    z = official_encoding(TI2V, theirs, seen[0])
    latent = (1.0 - mask2[0]) * z + mask2[0] * latent
    scheduler = official_scheduler(sampler, STEPS, 5.0)
    for t in scheduler.timesteps:
        timestep = (mask2[0][0][:, ::2, ::2] * torch.stack([t])).flatten()[None]
        cond = other([latent], t=timestep, context=WORDS, seq_len=tokens)[0]
        uncond = other([latent], t=timestep, context=NEGATIVE, seq_len=tokens)[0]
        noise_pred = uncond + 5.0 * (cond - uncond)
        latent = scheduler.step(noise_pred[None], t, latent[None], return_dict=False)[0][0]
        latent = (1.0 - mask2[0]) * z + mask2[0] * latent

    condition = from_picture(TI2V, door, seen, FRAMES, None) if image else FREE
    estimates: list[Tensor] = []
    found = generate_latents(
        {"full": model}, TI2V, pad(WORDS), pad(NEGATIVE), noise_BCFHW=start, condition=condition, sampler=sampler,
        steps=STEPS, shift=5.0, guidance={"full": 5.0}, on_step=lambda report: estimates.append(report.x0_BCFHW),
    )  # fmt: skip
    assert latent.std() > 0.1, "the comparison would be between zeros"
    assert (found[0] - latent).abs().max() <= 1e-5
    frames = torch.cat([*estimates, found])[:, :, 0]
    assert all(((frame - z[:, 0]).abs().max() <= 2e-6) == image for frame in frames)


class _Schedule(FlowMatchEulerDiscreteScheduler):
    """The levels that are asked for: the pipeline would have others."""

    def set_timesteps(self, *_: Any, **more: Any) -> None:
        super().set_timesteps(sigmas=[1.0, 0.9, 0.7, 0.4], device="cpu")


@pytest.mark.parametrize("member", [CLIP, I2V, TI2V], ids=["2.1 with CLIP", "2.2", "5B"])
@torch.no_grad()
def test_the_pipeline_of_diffusers_gives_the_same(member: Member, vaes: dict[str, tuple[Any, VaeDoor]]) -> None:
    door = vaes[member.vae.name][1]
    height = HEIGHT * 2
    model, seen = ours(member.transformer), noise(1, 3, height, WIDTH, seed=9).tanh()
    start = noise(1, *member.latent_shape(WIDTH, height, FRAMES), seed=8)
    text_BTD, clip_BTD = noise(1, 512, 32, seed=3), noise(1, 257, 1280, seed=4) if member.clip else None
    pipeline = WanImageToVideoPipeline(
        tokenizer=None, text_encoder=None, vae=diffusers_vae(door.model), scheduler=_Schedule(), transformer=diffusers_model(model),
        expand_timesteps=not member.given_channels,
    )  # fmt: skip
    pipeline.encode_image = lambda *_: clip_BTD
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        image=seen * 0.5 + 0.5, prompt_embeds=text_BTD, guidance_scale=1.0, height=height,
        width=WIDTH, num_frames=FRAMES, latents=start, output_type="latent",
    ).frames  # fmt: skip

    condition = from_picture(member, door, seen[:, :, None], FRAMES, clip_BTD)
    velocity = conditioned(model, condition)
    sigmas = [1.0, 0.9, 0.7, 0.4, 0.0]
    *_, found = walk(
        "euler",
        lambda x, t, _: velocity(x, torch.tensor([t]), text_BTD),
        start,
        sigmas,
        [1000 * s for s in sigmas[:-1]],
    )
    assert expected.std() > 0.1, "the comparison would be between zeros"
    # diffusers takes the angles of large timesteps in fp32
    assert (condition.keep(found) - expected).abs().max() <= 1e-4 * expected.std()


def test_nothing_given_is_the_transformer_itself() -> None:
    model = ours(replace(SHAPE, in_channels=16))
    assert conditioned(model, FREE) is model
    t_B = torch.tensor([5.0])
    assert FREE.times(t_B, 3) is t_B, "one timestep is not spread"


def test_one_picture_serves_a_batch() -> None:
    condition = Condition(first_BCFHW=torch.zeros(1, 2, 1, 4, 4))
    assert condition.keep(torch.ones(3, 2, 2, 4, 4)).mean((1, 3, 4)).tolist() == [[0, 1]] * 3
    assert condition.times(torch.tensor([7.0, 8.0]), 3).tolist() == [[0, 7, 7], [0, 8, 8]]
    seen: list[Tensor] = []
    velocity = conditioned(lambda *given: seen.extend(given) or given[0], Condition(torch.zeros(1, 5, 2, 4, 4)))
    velocity(torch.ones(3, 2, 2, 4, 4), torch.ones(3), torch.ones(3, 1, 1))
    assert seen[3].shape == (3, 5, 2, 4, 4) and seen[4] is None


SHAPES = [(640, 480), (1920, 1080), (1080, 1920), (720, 1280), (333, 1001), (512, 512), (4000, 1000), (830, 481)]


@pytest.mark.parametrize("picture", SHAPES)
@pytest.mark.parametrize("area", [(1280, 720), (832, 480), (1280, 704), (480, 832)])
def test_sizes_are_the_official_ones(picture: tuple[int, int], area: tuple[int, int]) -> None:
    w, h = picture
    most = area[0] * area[1]
    lat_h = round((most * (h / w)) ** 0.5 // 8 // 2 * 2)
    lat_w = round((most / (h / w)) ** 0.5 // 8 // 2 * 2)
    assert size_for(FAMILY["wan2.2-i2v-a14b"], picture, (None, None), most) == (lat_w * 8, lat_h * 8)
    best = official("utils.utils").best_output_size(w, h, 32, 32, most)
    assert size_for(FAMILY["wan2.2-ti2v-5b"], picture, (None, None), most) == best


def test_a_size_that_is_asked_for_goes_first() -> None:
    assert size_for(I2V, (200, 100), (64, 48), 10**6) == (64, 48)
    assert size_for(I2V, (200, 100), (64, None), 10**6) == (64, 32)
    assert size_for(I2V, (200, 100), (None, 64), 10**6) == (128, 64)
    assert size_for(TI2V, (10_000, 1), (None, None), 10**6)[1] == 32


def test_a_picture_too_many_or_too_few_is_a_sentence() -> None:
    for name, row in FAMILY.items():
        if row.needs_picture:
            with pytest.raises(
                SakugaError, match=f"{row.title} starts from a picture; give it as --image FILE, or as --i"
            ):
                check_picture(row, None)
        if not row.takes_picture:
            with pytest.raises(
                SakugaError, match="makes videos from words alone and cannot start from a.png; leave the"
            ):
                check_picture(row, "a.png")
        check_picture(row, "a.png" if row.takes_picture and name else None)
    check_picture(FAMILY["wan2.2-ti2v-5b"], None)
