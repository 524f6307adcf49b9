"""generate: what decides the video, which LoRA is on, and which expert takes which step."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from sakuga import api
from sakuga.core.errors import SakugaError
from sakuga.core.media.film import probe, scan_times
from sakuga.core.progress import Silent
from sakuga.core.project import Project
from sakuga.core.prompts import PromptLine
from sakuga.nn.lora import LoraTensors, load_lora, save_lora
from sakuga.stages.generate import Video

SMALL = {"width": 32, "height": 32, "frames": 5, "steps": 2}
PROMPT = "MyStyle. a boat"


def generate(project: Project, prompt: str = PROMPT, **settings: Any) -> Video:
    return api.generate(project, prompt, **SMALL | settings)


def seen(path: Path | None) -> bytes:
    """The pictures of a video, without the recipe that stands beside them in the file."""
    assert path is not None
    with av.open(str(path)) as opened:
        return b"".join(frame.to_ndarray(format="rgb24").tobytes() for frame in opened.decode(video=0))


def film(project: Project, prompt: str = PROMPT, **settings: Any) -> bytes:
    return seen(generate(project, prompt, **settings).path)


def worn(video: Video) -> dict[str, Path]:
    """The one LoRA of each expert, at full strength."""
    assert all(lora.strength == 1.0 for loras in video.loras.values() for lora in loras)
    return {expert: path for expert, loras in video.loras.items() for path in [one.path for one in loras]}


def train(project: Project, name: str = "r", **settings: Any) -> dict[str, Path]:
    """Two steps that can be seen."""
    return api.train(project, name=name, **{"steps": 2, "rank": 4, "learning_rate": 0.1} | settings).checkpoints


def test_the_seed_and_the_words_decide(cached: Project) -> None:
    first = film(cached)
    assert film(cached) == first
    others = [film(cached, seed=2), film(cached, "a girl"), film(cached, steps=3), film(cached, guidance=5.0)]
    others += [film(cached, sampler="euler"), film(cached, shift=7.0), film(cached, negative="blurred")]
    assert len({first, *others}) == 8


def test_the_size_is_rounded_to_what_the_model_takes_and_the_name_is_free(cached: Project) -> None:
    videos = [generate(cached, "a boat / sails", width=50, height=47, frames=8) for _ in range(2)]
    assert [video.path.name for video in videos] == ["a boat _ sails-1-1.mp4", "a boat _ sails-1-2.mp4"]
    assert all(v.path.parent == cached.folder / "generated" for v in videos)
    for video in videos:
        assert (video.width, video.height, video.frames) == (48, 32, 5)
        info = probe(video.path)
        assert (info.width, info.height, info.declared) == (48, 32, 16) and len(scan_times(video.path)) == 5


def test_a_video_goes_where_it_is_asked_to(cached: Project, tmp_path: Path) -> None:
    assert generate(cached, out=str(tmp_path / "new" / "x.mp4")).path == tmp_path / "new" / "x.mp4"
    assert generate(cached, out=str(tmp_path / "new")).path == tmp_path / "new" / "MyStyle. a boat-1-1.mp4"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["MyStyle. a boat-1-1.mp4", "x.mp4"]


def test_the_newest_lora_is_on_unless_another_is_named(cached: Project) -> None:
    base = film(cached)
    checkpoint = train(cached)["full"]
    styled = generate(cached)
    assert worn(styled) == {"full": checkpoint} and styled.unused == []
    styled_film = seen(styled.path)
    assert styled_film != base
    assert film(cached, lora="none") == base
    assert film(cached, strength=0.0) == base
    assert film(cached, strength=0.5) not in (base, styled_film)
    train(cached, "second", seed=9)
    assert film(cached) not in (base, styled_film)
    assert film(cached, lora="r") == film(cached, lora=str(checkpoint)) == styled_film


def test_a_run_that_has_no_checkpoint_yet_is_passed_over(cached: Project) -> None:
    checkpoint = train(cached)["full"]

    def crash(report: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.train(cached, name="broken", rank=4, steps=2, on_step=crash)
    assert worn(generate(cached)) == {"full": checkpoint}


def test_a_published_lora_does_what_its_checkpoint_does(cached: Project) -> None:
    train(cached)
    (published,) = api.publish(cached, precision="fp32")
    assert film(cached, lora=str(published.path)) == film(cached)


@pytest.mark.parametrize(
    ("name", "shapes", "words"),
    [
        (
            "wide",
            {"blocks.0.self_attn.q": (4, 256, 256)},
            "was made for another model: its blocks.0.self_attn.q is 256 x",
        ),
        ("other", {"layers.0.attention": (4, 64, 64)}, "has nothing that fits this model"),
    ],
)
def test_a_lora_of_another_model_is_refused(
    cached: Project, tmp_path: Path, name: str, shapes: dict[str, tuple[int, int, int]], words: str
) -> None:
    tensors = {n: LoraTensors(torch.ones(r, i), torch.ones(o, r), r) for n, (r, i, o) in shapes.items()}
    save_lora(tmp_path / f"{name}.safetensors", tensors, {})
    with pytest.raises(SakugaError, match=words) as error:
        generate(cached, lora=str(tmp_path / f"{name}.safetensors"))
    assert "\n" not in str(error.value)
    assert not (cached.folder / "generated").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lora": "nobody"}, "'nobody' is neither a LoRA file nor a run of this project"),
        ({"width": 16, "height": 8}, "height = 8: input should be greater than or equal to 16"),
        ({"sampler": "dpm"}, "sampler = 'dpm'"),
        ({"device": "cuda:9"}, "device 'cuda:9' is not there"),
        ({"device": "tpu"}, "device 'tpu' is not known; use cpu, cuda or cuda:0"),
        ({"guidance": (1, 2)}, "2 numbers for guidance, and Tiny Wan has 1 expert; give one number, or one for each"),
        ({"skip_layers": (1, 64)}, "skip_layers names layer 64, and Tiny Wan has 0 to "),
        ({"split": 1}, "a split is for models of two experts, and Tiny Wan has one; leave it out"),
        ({"attention": "sage"}, "attention = 'sage' needs the package sageattention and an NVIDIA card"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(cached: Project, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SakugaError, match=words):
        generate(cached, **settings)


def test_the_high_expert_hands_over_to_the_low_one(experts: Project) -> None:
    video = generate(experts, steps=6)
    assert video.experts == ["high"] * 2 + ["low"] * 4  # at shift 3: 999 937 | 857 749 599 374
    assert video.loras == {}


def test_experts_take_turns_as_they_are_told(experts: Project) -> None:
    video = generate(experts, steps=6, split=4)
    assert video.experts == ["high"] * 4 + ["low"] * 2 and video.outside == (3, 4)
    assert generate(experts, steps=6).outside == ()
    with pytest.raises(SakugaError, match="a split is a number of steps from 0 to 2, not 3"):
        generate(experts, split=3)


def test_each_expert_has_its_own_guidance(experts: Project) -> None:
    one, both = film(experts, steps=6, guidance=3.0), film(experts, steps=6, guidance=(3.0, 3.0))
    assert (
        one == both
        and len({one, film(experts, steps=6, guidance=(2, 3)), film(experts, steps=6, guidance=(3, 2))}) == 3
    )


def test_steps_that_took_an_earlier_velocity_are_told(cached: Project) -> None:
    video = generate(cached, steps=20, reuse=9.0)
    assert video.reused and {1, 2, 20}.isdisjoint(video.reused) and generate(cached, steps=20).reused == ()


def test_a_still_is_a_picture_and_a_video_what_it_is_asked_to_be(cached: Project, tmp_path: Path) -> None:
    assert generate(cached, frames=1).path.name == "MyStyle. a boat-1-1.png"
    folder = generate(cached, format="png").path
    assert folder.name == "MyStyle. a boat-1-2" and sorted(p.name for p in folder.iterdir()) == [
        f"{n:04d}.png" for n in range(1, 6)
    ]
    assert generate(cached, format="webp").path.name == "MyStyle. a boat-1-3.webp"
    asked = generate(cached, out=str(tmp_path / "x.webp"), format="png").path
    assert asked == tmp_path / "x" and asked.is_dir()
    assert generate(cached, out=str(tmp_path / "y")).path == tmp_path / "y.mp4"
    assert generate(cached, out=str(asked / "z.mp4"), frames=1).path.suffix == ".mp4"
    assert generate(cached, out=str(tmp_path / "x.png"), format="png").path == asked, "a folder of pictures is replaced"


def test_what_the_high_expert_left_stands_beside_the_video(experts: Project, tmp_path: Path) -> None:
    plain = generate(experts, steps=6)
    assert plain.handover == plain.path.with_name(f"{plain.path.stem}-handover.mp4")
    assert len(scan_times(plain.handover)) == plain.frames and seen(plain.handover) != seen(plain.path)
    for expert, path in train(experts).items():
        alone = tmp_path / f"{expert}-only" / f"style-{expert}.safetensors"
        alone.parent.mkdir()
        save_lora(alone, load_lora(path).tensors, {}, torch.float32)
        styled = generate(experts, steps=6, lora=str(alone))
        assert list(styled.loras) == [expert] and seen(styled.path) != seen(plain.path)
        assert styled.handover is not None  # the low expert comes after it, and cannot have touched it
        assert (seen(styled.handover) == seen(plain.handover)) == (expert == "low")
    without = [generate(experts, steps=1), generate(experts, steps=6, handover=False)]
    assert [video.handover for video in without] == [None, None]


def test_each_expert_wears_its_own_lora(experts: Project, tmp_path: Path) -> None:
    base = film(experts)
    paths = train(experts)
    styled = generate(experts)
    assert worn(styled) == paths
    for expert, path in paths.items():
        save_lora(tmp_path / f"style-{expert}.safetensors", load_lora(path).tensors, {}, torch.float32)
    both = generate(experts, lora=str(tmp_path / "style-low.safetensors"))
    assert worn(both) == {name: tmp_path / f"style-{name}.safetensors" for name in ("high", "low")}
    assert seen(both.path) == seen(styled.path) != base
    (tmp_path / "style-high.safetensors").unlink()
    alone = generate(experts, lora=str(tmp_path / "style-low.safetensors"))
    assert list(alone.loras) == ["low"]
    assert seen(alone.path) not in (base, seen(styled.path))


def test_several_loras_each_with_its_strength_live_or_merged(cached: Project) -> None:
    first, second = train(cached)["full"], train(cached, "second", seed=9)["full"]
    base = film(cached, lora="none")
    both = generate(cached, lora=[f"{first}:0.5", "second:-0.3"])
    assert [(lora.path, lora.strength) for lora in both.loras["full"]] == [(first, 0.5), (second, -0.3)]
    assert both.merge_loss is None
    assert film(cached, lora=[f"{first}:0.5"], strength=9) == film(cached, lora=str(first), strength=0.5)
    merged = generate(cached, lora=[f"{first}:0.5", "second:-0.3"], merge=True)
    assert merged.merge_loss is not None and merged.merge_loss < 1e-6
    films = [both.path, merged.path, generate(cached, lora=[f"{first}:0.5"]).path, generate(cached, lora="second").path]
    assert len({base, *(seen(path) for path in films[:1] + films[2:])}) == 4
    asked = {"lora": [f"{first}:0.5", "second:-0.3"], "format": "png"}  # as they are, not as a codec has them
    live, folded = (generate(cached, **asked, merge=merge).path for merge in (False, True))
    frames = [np.stack([np.asarray(Image.open(file)) for file in sorted(path.iterdir())]) for path in (live, folded)]
    assert np.abs(frames[0].astype(int) - frames[1]).max() <= 2
    assert generate(cached, lora=[f"{first}:0.5"], merge=True, precision="bf16").merge_loss > 1e-4  # type: ignore[operator]


def test_a_lora_for_one_expert_alone(experts: Project) -> None:
    paths = train(experts)
    only = generate(experts, steps=6, lora=[f"{paths['low']}:0.7:low", f"{paths['low']}:high"])
    assert {name: [(w.path, w.strength) for w in loras] for name, loras in only.loras.items()} == {
        "high": [(paths["low"], 1.0)], "low": [(paths["low"], 0.7)],
    }  # fmt: skip
    with pytest.raises(SakugaError, match="neither a strength nor an expert of this model"):
        generate(experts, lora=[f"{paths['low']}:full"])


def test_many_prompts_give_what_each_gives_alone(cached: Project, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("MyStyle. a boat sails --d 3\n# a remark\nMyStyle. a bird --f 1 --s 3\n", "utf-8")
    many = api.generate_all(cached, api.read_prompts(prompts), **SMALL)
    assert [(v.prompt, v.seed, v.frames, len(v.experts)) for v in many] == [
        ("MyStyle. a boat sails", 3, 5, SMALL["steps"]),
        ("MyStyle. a bird", 1, 1, 3),
    ]
    alone = [generate(cached, "MyStyle. a boat sails", seed=3), generate(cached, "MyStyle. a bird", frames=1, steps=3)]
    assert [seen(video.path) for video in many] == [seen(video.path) for video in alone]


def test_what_was_sampled_before_a_stop_is_written(cached: Project) -> None:
    class Stop(Silent):
        left = SMALL["steps"] + 1

        def advance(self, amount: int = 1, note: str = "") -> None:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    lines = [PromptLine("a boat"), PromptLine("a bird")]
    with pytest.raises(KeyboardInterrupt):
        api.generate_all(cached, lines, progress=Stop(), **SMALL)
    assert [path.name for path in (cached.folder / "generated").iterdir()] == ["a boat-1-1.mp4"]
