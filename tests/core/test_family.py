"""The table of models: every row is consistent, and the arithmetic is the model's."""

from dataclasses import fields

import pytest

from sakuga.core.errors import SakugaError
from sakuga.core.family import FAMILY, MEMBERS, Member, member
from sakuga.core.project import first_config
from sakuga.core.settings import ModelSettings, Section, TrainSettings, parse

every_member = pytest.mark.parametrize("row", MEMBERS, ids=lambda row: row.name)
T2V = member("wan2.1-t2v-14b")
TWO = member("wan2.2-t2v-a14b")


@every_member
def test_a_row_is_consistent(row: Member) -> None:
    assert FAMILY[row.name] is row
    transformer, vae = row.transformer, row.vae
    assert transformer.dim % transformer.heads == 0 and (transformer.dim // transformer.heads) % 2 == 0
    assert transformer.out_channels == vae.channels and transformer.text_dim == row.text.dim
    # text to video takes the latent alone; image to video also a mask of 4 and the latent of the picture
    extra = 4 + vae.channels if row.task == "i2v" else 0
    assert transformer.in_channels == vae.channels + extra
    assert vae.mean == () if row.tiny else len(vae.mean) == len(vae.std) == vae.channels
    assert row.frames == row.floor_frames(row.frames)
    for width, height in row.sizes:
        assert width % row.side_step == 0 and height % row.side_step == 0
        channels, frames, h, w = row.latent_shape(width, height, row.frames)
        assert channels == vae.channels and row.floor_frames((frames - 1) * vae.stride[0] + 1) == row.frames
        assert row.tokens(width, height, row.frames) == frames * (h // 2) * (w // 2)


@every_member
def test_the_experts_cover_every_noise_level_once(row: Member) -> None:
    assert row.experts[0].t_max == 1.0 and row.experts[-1].t_min == 0.0
    for above, below in zip(row.experts, row.experts[1:], strict=False):
        assert above.t_min == below.t_max == row.boundary
    for expert in row.experts:
        assert row.expert(expert.name) is expert
        assert row.expert_at((expert.t_min + expert.t_max) / 2) is expert
    with pytest.raises(SakugaError, match=row.experts[0].name):
        row.expert(row.experts[0].name + "x")


@every_member
def test_every_file_has_a_setting_and_a_source(row: Member) -> None:
    roles = [file.role for file in row.files]
    weights = ["transformer"] if len(row.experts) == 1 else [expert.name for expert in row.experts]
    clip = ["clip"] if row.transformer.clip_branch else []
    assert sorted(roles) == sorted([*weights, "vae", "text", "tokenizer", *clip])
    assert set(roles) <= set(ModelSettings.model_fields)
    assert all(file.names and file.gigabytes > 0 and file.source and file.licence for file in row.files)


@every_member
def test_what_a_picture_is_given_as_fits_the_transformer(row: Member) -> None:
    given = row.vae.stride[0] + row.vae.channels if row.needs_picture else 0  # mask and latents
    assert row.given_channels == given and row.transformer.out_channels == row.vae.channels
    assert (row.clip is not None) == row.transformer.clip_branch <= row.needs_picture <= row.takes_picture
    assert row.transformer.patch[0] == 1, "a timestep for each latent frame is one for its tokens"


@every_member
def test_a_new_project_has_settings_that_parse(row: Member) -> None:
    settings = parse({"model": row.name, "sections": row.dataset, "train": row.recipe}, "test")
    assert settings.member is row and settings.sections
    for name, section in settings.sections.items():
        assert isinstance(section, Section) and section.model_fields_set == set(row.dataset[name])
        assert all(row.floor_frames(length) == length <= row.frames for length in section.frames)
    assert settings.train.rank == row.recipe["rank"]
    assert "[sections." in first_config(row, "MyStyle")


def test_rows_name_only_what_there_is() -> None:
    assert len(FAMILY) == len(MEMBERS) == 8
    assert [m.name for m in MEMBERS if m.tiny] == ["tiny", "tiny-experts"]
    assert {name for row in MEMBERS for name in row.recipe} <= {*TrainSettings.model_fields}
    told = [field.name for field in fields(Member) if field.name != "clip"]
    assert all(getattr(row, name) is not None for row in MEMBERS for name in told)


def test_frames_are_floored_to_a_stride_after_the_first() -> None:
    wanted = {0: 0, -3: 0, 1: 1, 2: 1, 4: 1, 5: 5, 8: 5, 44: 41, 45: 45, 80: 77, 81: 81, 84: 81}
    assert {n: T2V.floor_frames(n) for n in wanted} == wanted


def test_latent_shapes_and_tokens() -> None:
    assert T2V.latent_shape(832, 480, 81) == (16, 21, 60, 104)
    assert T2V.tokens(832, 480, 81) == 32_760
    assert T2V.tokens(384, 208, 45) == 3_744
    assert T2V.tokens(832, 480, 1) == 1_560
    five = member("wan2.2-ti2v-5b")
    assert five.latent_shape(1280, 704, 121) == (48, 31, 44, 80)
    assert five.tokens(1280, 704, 121) == 27_280
    assert (T2V.side_step, five.side_step) == (16, 32)


def test_the_boundary_belongs_to_the_high_expert() -> None:
    assert TWO.boundary == 0.875 and member("wan2.2-i2v-a14b").boundary == 0.9
    assert T2V.boundary is None and T2V.expert_at(0.0) is T2V.expert_at(1.0) is T2V.experts[0]
    at = {t: TWO.expert_at(t).name for t in (1.0, 0.875, 0.8749999, 0.5, 0.0)}
    assert at == {1.0: "high", 0.875: "high", 0.8749999: "low", 0.5: "low", 0.0: "low"}


@pytest.mark.parametrize("wrong, right", [("wan2.2-t2v-14b", "wan2.2-t2v-a14b"), ("tiny-expert", "tiny-experts")])
def test_an_unknown_model_is_told_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(SakugaError, match=f"'{wrong}' is not a model Sakuga knows; did you mean {right}?"):
        member(wrong)
    with pytest.raises(SakugaError, match=r"known: wan2\.1-t2v-1\.3b, "):
        member("sdxl")
