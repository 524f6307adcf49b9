"""train: what a run learns, what it sees, what it leaves behind, and what it refuses."""

import json
import math
import statistics
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sakuga import api
from sakuga.core import control
from sakuga.core.cost import Held
from sakuga.core.dataset import encoded_samples, latent_file, text_file
from sakuga.core.errors import SakugaError
from sakuga.core.files import file_sha256
from sakuga.core.media.film import frames, probe, scan_times
from sakuga.core.models import of_project
from sakuga.core.noise import time_at
from sakuga.core.progress import Silent
from sakuga.core.project import Project
from sakuga.core.rates import learning_rate
from sakuga.core.settings import TrainSettings
from sakuga.nn.encodings import read_encoding, write_encoding
from sakuga.nn.lora import inject, load_lora
from sakuga.nn.parts import Parts
from sakuga.nn.text import pad_text
from sakuga.nn.transformer import WanTransformer
from sakuga.nn.weights import load_transformer
from sakuga.stages.train import Run, StepReport, loop, record
from sakuga.stages.train.data import Draw, Schedule, level_at, load, together
from sakuga.stages.train.state import load_state, state_path
from sakuga.stages.train.step import Learner

SMALL: dict[str, Any] = {"name": "r", "rank": 4, "learning_rate": 1e-2}


def train(project: Project, **settings: Any) -> Run:
    return api.train(project, **SMALL | settings)


def pictures(path: Path) -> bytes:
    """The pictures of a video, without what its file says besides."""
    return b"".join(rgb.tobytes() for _, rgb in frames(path))


def item_losses(project: Project) -> list[dict[str, Any]]:
    return project.rows("SELECT * FROM item_loss ORDER BY run_expert, step, part")


def test_the_loss_falls(cached: Project) -> None:
    run = train(cached, epochs=4)
    losses = run.losses["full"]
    assert len(losses) == 24
    assert sum(losses[-6:]) < 0.8 * sum(losses[:6])  # the same samples, the same share of noise levels
    assert run.validation["full"][24] < 0.8 * run.validation["full"][0]
    assert not run.stopped and cached.rows("SELECT state FROM run") == [{"state": "done"}]


def test_one_step_is_the_gradient_of_the_mean_over_its_samples(cached: Project) -> None:
    train(cached, steps=1, accumulation=6)
    samples, member = encoded_samples(cached), cached.member
    settings = TrainSettings(**SMALL | {"steps": 1, "accumulation": 6})
    draws = Schedule(samples, settings, member.experts[0], member).step(1)
    model = load_transformer(member.transformer, of_project(cached)["transformer"], torch.float32, "cpu")
    lora = inject(model, 4, 4.0, settings.seed)
    losses = []
    for draw in draws:
        batch = load([draw], member, cached.folder, torch.device("cpu"))
        x, e, t = batch.latent, batch.noise, draw.t
        velocity = model((1 - t) * x + t * e, torch.tensor([1000 * t]), pad_text(batch.texts, member.text.length))
        losses.append((velocity - (e - x)).square().mean())
    torch.stack(losses).mean().backward()
    gradients = [p.grad for p in lora.parameters() if p.grad is not None]
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
    (row,) = cached.rows("SELECT loss, norm FROM step")
    assert row["norm"] == pytest.approx(norm, rel=1e-4)
    assert [r["loss"] for r in item_losses(cached)] == pytest.approx([float(x.detach()) for x in losses], rel=1e-5)
    assert row["loss"] == pytest.approx(sum(float(x.detach()) for x in losses) / 6, rel=1e-5)


def test_samples_computed_at_once_give_the_same_step(cached: Project) -> None:
    for batch in (1, 4):
        train(cached, name=f"b{batch}", steps=2, accumulation=6, batch=batch)
    one, four = ([r["loss"] for r in item_losses(cached)[n : n + 12]] for n in (0, 12))
    assert four == pytest.approx(one, rel=1e-5) and len(set(one)) == 12
    norms = [row["norm"] for row in cached.rows("SELECT norm FROM step ORDER BY run_expert, step")]
    assert norms[2:] == pytest.approx(norms[:2], rel=1e-4)
    (first,), (second,) = (
        cached.rows("SELECT DISTINCT loss FROM validation WHERE run_expert = ? LIMIT 1", n) for n in (1, 2)
    )
    assert second["loss"] == pytest.approx(first["loss"], rel=1e-5)


def test_only_samples_of_one_bucket_are_computed_at_once(cached: Project) -> None:
    samples, settings = encoded_samples(cached), TrainSettings(accumulation=6)
    draws = Schedule(samples, settings, cached.member.experts[0], cached.member).step(1)
    places = together(draws, 2)
    assert sorted(place for each in places for place in each) == list(range(6)) and max(map(len, places)) == 2
    assert all(len({draws[place].sample.frames for place in each}) == 1 for each in places)


def test_every_epoch_shows_every_sample_once_in_another_order(cached: Project) -> None:
    planned = api.plan(cached, epochs=2, accumulation=5)
    train(cached, epochs=2, accumulation=5)
    rows = item_losses(cached)
    assert Counter(row["step"] for row in rows) == {1: 5, 2: 5, 3: 2}  # 12 = 2 epochs of 6, none dropped
    assert planned.steps == 3 and planned.experts == {"full": len(rows)}
    first, second = ([row["sample"] for row in rows[n : n + 6]] for n in (0, 6))
    trained = {sample.key for sample in encoded_samples(cached) if not sample.held_out}
    assert set(first) == set(second) == trained and len(trained) == 6
    assert first != second
    steps = cached.rows("SELECT step, loss FROM step")
    means = {step: [row["loss"] for row in rows if row["step"] == step] for step in range(1, 4)}
    assert all(row["loss"] == pytest.approx(sum(means[row["step"]]) / len(means[row["step"]])) for row in steps)


def test_repeats_are_shown_as_often_in_an_epoch(cached: Project) -> None:
    samples = [s for s in encoded_samples(cached) if not s.held_out][:3]
    samples[1] = replace(samples[1], repeats=3)
    schedule = Schedule(samples, TrainSettings(epochs=2), cached.member.experts[0], cached.member)
    draws = [schedule.step(n)[0] for n in range(1, 11)]
    for epoch in (draws[:5], draws[5:]):
        assert Counter(draw.sample.key for draw in epoch) == {samples[0].key: 1, samples[1].key: 3, samples[2].key: 1}
    assert len({draw.noise for draw in draws}) == 10 and len({draw.t for draw in draws}) == 10


def test_dropped_captions_are_a_share_of_the_draws_and_see_the_negative_prompt(cached: Project) -> None:
    samples = encoded_samples(cached)

    def draws(share: float, seed: int = 1) -> list[Draw]:
        settings = TrainSettings(steps=100, accumulation=6, caption_dropout=share, seed=seed)
        schedule = Schedule(samples, settings, cached.member.experts[0], cached.member)
        return [draw for n in range(1, 101) for draw in schedule.step(n)]

    some = draws(0.25)
    dropped = [draw for draw in some if not draw.captioned]
    assert 110 < len(dropped) < 190  # 150 of 600, by four deviations
    assert len({draw.sample.key for draw in dropped}) == 6  # it meets every sample
    negative = load([dropped[0]], cached.member, cached.folder, torch.device("cpu")).texts[0]
    assert torch.equal(negative, load_file(cached.path(text_file(samples[0].negative)))["text"].float())
    assert [replace(draw, captioned=True) for draw in some] == draws(0)  # order, noise and levels stay
    assert draws(0.25, seed=2) != some == draws(0.25)


def test_a_section_has_a_dropout_a_batch_and_a_weight_of_its_own(cached: Project) -> None:
    train(cached, name="plain", steps=1, accumulation=6)
    clips = cached.settings.sections["clips"]
    heavy = clips.model_copy(update={"weight": 3.0, "caption_dropout": 0.9, "batch": 1})
    sections = {**cached.settings.sections, "clips": heavy}
    cached.settings = cached.settings.model_copy(update={"sections": sections})
    samples = encoded_samples(cached)
    assert {(s.weight, s.batch) for s in samples if s.frames > 1} == {(3.0, 1)}
    settings = TrainSettings(steps=50, accumulation=6)
    schedule = Schedule(samples, settings, cached.member.experts[0], cached.member)
    draws = [draw for n in range(1, 51) for draw in schedule.step(n)]
    assert all(draw.captioned for draw in draws if draw.sample.frames == 1)
    dropped = [not draw.captioned for draw in draws if draw.sample.frames > 1]
    assert sum(dropped) > len(dropped) * 0.8
    places = together(draws[:6], 4)
    assert {len(each) for each in places if draws[each[0]].sample.frames > 1} == {1}

    even = {name: s.model_copy(update={"weight": 3.0}) for name, s in cached.settings.sections.items()}
    even["clips"] = clips.model_copy(update={"weight": 3.0})
    cached.settings = cached.settings.model_copy(update={"sections": even})
    train(cached, name="thrice", steps=1, accumulation=6)
    plain, thrice = cached.rows("SELECT loss, norm FROM step")
    assert thrice["loss"] == plain["loss"] and thrice["norm"] == pytest.approx(3 * plain["norm"], rel=1e-4)


def test_the_loop_trains_on_what_was_dropped(cached: Project) -> None:
    losses = [
        train(cached, name=f"d{share}", steps=2, accumulation=6, caption_dropout=share).losses for share in (0, 0.9)
    ]
    assert losses[0]["full"] != losses[1]["full"]


def test_the_cosine_schedule_falls_from_the_full_rate_to_nearly_nothing() -> None:
    settings = TrainSettings(learning_rate=1.0, warmup=2, schedule="cosine")
    rates = [learning_rate(step, 6, settings) for step in range(1, 7)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.8536, 0.5, 0.1464], abs=1e-4)
    assert learning_rate(5, 6, TrainSettings(learning_rate=1.0)) == 1.0


def test_warmup_raises_the_rate_in_a_straight_line(cached: Project) -> None:
    train(cached, steps=4, warmup=3)
    rates = [row["learning_rate"] for row in cached.rows("SELECT learning_rate FROM step ORDER BY step")]
    assert rates == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2, 1e-2])


def test_a_checkpoint_has_a_row_only_when_it_and_its_state_are_there(
    cached: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    note, noted = record.note_checkpoint, []

    def watched(project: Project, run_expert: int, step: int, path: Path) -> None:
        assert load_state(state_path(project.folder / "runs" / "r", "full")).step == step
        assert len(load_lora(path).tensors) == 60
        noted.append(step)
        note(project, run_expert, step, path)

    monkeypatch.setattr(record, "note_checkpoint", watched)
    train(cached, steps=5, save_every=2)
    rows = cached.rows("SELECT step, file, sha256 FROM checkpoint")
    assert noted == [row["step"] for row in rows] == [2, 4, 5]
    assert all(file_sha256(cached.path(row["file"])) == row["sha256"] for row in rows)
    assert cached.rows("SELECT steps, steps_done FROM run_expert") == [{"steps": 5, "steps_done": 5}]


def test_validation_is_before_the_first_step_and_at_the_end_with_the_same_noise(cached: Project) -> None:
    run = train(cached, steps=5, validate_every=2, learning_rate=1e-12)
    rows = cached.rows("SELECT step, t, loss FROM validation ORDER BY step, t")
    by_step = {n: [(row["t"], row["loss"]) for row in rows if row["step"] == n] for n in (0, 2, 4, 5)}
    assert len(rows) == 32 and list(run.validation["full"]) == [0, 2, 4, 5]
    levels = [t for t, _ in by_step[0]]
    assert len(set(levels)) == 8 and 0 < min(levels) < 0.4 and 0.9 < max(levels) < 1
    for step in (2, 4, 5):  # nothing was learnt, and nothing else may differ
        assert [loss for _, loss in by_step[step]] == pytest.approx([loss for _, loss in by_step[0]], rel=1e-5)
    assert not {row["item"] for row in item_losses(cached)} & {s.item for s in encoded_samples(cached) if s.held_out}


def scalars(run: Run) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run.folder / "tensorboard" / "full"))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_shows_what_the_store_holds(cached: Project) -> None:
    train(cached, steps=4, validate_every=3, should_stop=lambda: bool(cached.rows("SELECT 1 FROM step WHERE step = 2")))
    run = train(cached, steps=4, validate_every=3)
    shown = scalars(run)
    stored = [(r["step"], pytest.approx(r["loss"])) for r in cached.rows("SELECT step, loss FROM step ORDER BY step")]
    assert shown["loss/train"] == stored and len(stored) == 4
    assert [step for step, _ in shown["loss/validation"]] == [0, 3, 4]
    assert [step for step, _ in shown["learning_rate"]] == [1, 2, 3, 4]


PROMPTS = """# two looks
MyStyle. a boat --w 32 --h 48 --f 7 --s 2 --d 5
MyStyle. a girl runs --w 32 --h 32 --f 1 --s 2 --n blurred --g 2.5
"""


def test_previews_are_made_of_every_prompt_with_the_same_noise(cached: Project) -> None:
    (cached.folder / "looks.txt").write_text(PROMPTS, "utf-8")
    train(cached, steps=3, preview_every=2, prompts="looks.txt", learning_rate=1e-12)
    rows = cached.rows("SELECT expert, step, prompt, text, file FROM preview ORDER BY step, prompt")
    assert [(r["step"], r["prompt"]) for r in rows[:2]] == [(0, 0), (0, 1)], "the base, once"
    rows = rows[2:]
    assert [(r["step"], r["prompt"], r["text"]) for r in rows] == [
        (2, 0, "MyStyle. a boat"), (2, 1, "MyStyle. a girl runs"), (3, 0, "MyStyle. a boat"), (3, 1, "MyStyle. a girl runs"),
    ]  # fmt: skip
    boat, girl, boat_again, girl_again = (cached.path(row["file"]) for row in rows)
    assert (probe(boat).width, probe(boat).height, len(scan_times(boat))) == (32, 48, 5)  # 7 frames floored to 4n + 1
    assert (probe(girl).width, probe(girl).height, len(scan_times(girl))) == (32, 32, 1)
    assert boat.read_bytes() == boat_again.read_bytes() and girl.read_bytes() == girl_again.read_bytes()


def test_previews_change_nothing_of_the_training_and_show_it(cached: Project) -> None:
    plain = train(cached, name="plain", steps=3)
    (cached.folder / "looks.txt").write_text("MyStyle. a boat --w 32 --h 32 --f 5 --s 2", "utf-8")
    looked = train(cached, name="looked", steps=3, prompts="looks.txt", preview_every=1)
    assert plain.checkpoints["full"].read_bytes() == looked.checkpoints["full"].read_bytes()
    videos = [cached.path(row["file"]).read_bytes() for row in cached.rows("SELECT file FROM preview")]
    assert len(set(videos)) == 4  # the base, and three steps


def test_two_experts_are_trained_each_in_its_own_noise(experts: Project) -> None:
    (experts.folder / "looks.txt").write_text("MyStyle. a boat --w 32 --h 32 --f 5 --s 4", "utf-8")
    run = train(experts, steps=4, prompts="looks.txt")
    assert list(run.checkpoints) == ["high", "low"]
    assert len({path.read_bytes() for path in run.checkpoints.values()}) == 2
    for expert, low, high in (("high", 0.875, 1.0), ("low", 0.0, 0.875)):
        (row,) = experts.rows("SELECT * FROM run_expert WHERE expert = ?", expert)
        assert (row["t_min"], row["t_max"], row["steps_done"]) == (low, high, 4)
        levels = [r["t"] for r in experts.rows("SELECT t FROM item_loss WHERE run_expert = ?", row["id"])]
        levels += [r["t"] for r in experts.rows("SELECT t FROM validation WHERE run_expert = ?", row["id"])]
        assert len(levels) == 4 + 2 * 8 and all(low <= t <= high for t in levels)
    previews = {row["expert"]: row["file"] for row in experts.rows("SELECT expert, file FROM preview WHERE step > 0")}
    assert list(previews) == ["high", "low"]
    made = sorted(path.name for path in (run.folder / "previews").iterdir())
    assert made == [
        f"{name}{end}.mp4"
        for name in ("000000-high-01", "000004-high-01", "000004-low-01")
        for end in ("-handover", "")
    ]
    (base,) = (run.folder / "previews").glob("000000-high-01.mp4")
    plain = api.generate(experts, "MyStyle. a boat", width=32, height=32, frames=5, steps=4, lora="none")
    assert pictures(base) == pictures(plain.path)
    # the last preview wears the LoRAs of both, as a generation does
    video = api.generate(experts, "MyStyle. a boat", width=32, height=32, frames=5, steps=4)
    high, low, made = (pictures(path) for path in (*map(experts.path, previews.values()), video.path))
    assert low == made != high


def test_previews_may_wear_a_lora_for_few_steps(cached: Project) -> None:
    train(cached, name="few", steps=2)
    (cached.folder / "looks.txt").write_text("MyStyle. a boat --w 32 --h 32 --f 5", "utf-8")
    plain = train(cached, name="plain", steps=2, seed=5)
    looked = train(cached, name="looked", steps=2, seed=5, prompts="looks.txt", preview_lora="few")
    assert looked.checkpoints["full"].read_bytes() == plain.checkpoints["full"].read_bytes()
    (row,) = cached.rows("SELECT file FROM preview WHERE step = 2")
    both = (f"{plain.checkpoints['full']}", "few")
    video = api.generate(cached, "MyStyle. a boat", width=32, height=32, frames=5, few_steps=True, lora=both)
    assert pictures(cached.path(row["file"])) == pictures(video.path)


def test_one_expert_can_be_trained_alone(experts: Project) -> None:
    assert list(train(experts, steps=1, experts=["low"]).checkpoints) == ["low"]
    with pytest.raises(SakugaError, match="tiny-experts has no expert 'hgih', it has high, low; did you mean high"):
        train(experts, name="other", experts=["hgih"])
    assert [row["name"] for row in experts.rows("SELECT name FROM run")] == ["r"]


def test_recomputing_blocks_changes_nothing(cached: Project) -> None:
    off = train(cached, name="off", steps=3, checkpointing=False)
    on = train(cached, name="on", steps=3, checkpointing=True)
    assert on.losses == off.losses
    assert on.checkpoints["full"].read_bytes() == off.checkpoints["full"].read_bytes()


def test_a_loss_that_is_no_number_stops_and_names_the_item(cached: Project) -> None:
    sample = next(s for s in encoded_samples(cached) if not s.held_out and s.kind == "still")
    path = cached.path(latent_file(sample.latent))
    latent = read_encoding(path, sample.latent)["latent"]
    write_encoding(path, sample.latent, {"latent": torch.full_like(latent, math.nan)})
    with pytest.raises(SakugaError) as error:
        train(cached, steps=1, accumulation=6, patience=1)
    assert f"gave a loss that is not a number (on {sample.item}), 1 in a row; lower" in str(error.value)
    assert cached.rows("SELECT state FROM run") == [{"state": "stopped"}]
    assert cached.rows("SELECT * FROM checkpoint") == [] and item_losses(cached) == []

    said = Said()
    run = train(cached, name="patient", epochs=2, progress=said)  # one step of six
    assert sum("the loss is not a number" in words for words in said.words) == 2 and len(run.losses["full"]) == 10
    assert all(torch.isfinite(layer.B).all() for layer in load_lora(run.checkpoints["full"]).tensors.values())


def test_after_several_steps_without_a_number_the_last_good_state_is_kept(cached: Project) -> None:
    good = train(cached, name="good", steps=4, seed=3)
    samples = [s for s in encoded_samples(cached) if not s.held_out]
    schedule = Schedule(
        samples, TrainSettings(**SMALL | {"steps": 9, "seed": 3}), cached.member.experts[0], cached.member
    )
    for number in (5, 6):
        sample = schedule.step(number)[0].sample
        path = cached.path(latent_file(sample.latent))
        write_encoding(
            path, sample.latent, {"latent": torch.full_like(read_encoding(path, sample.latent)["latent"], math.inf)}
        )
    with pytest.raises(SakugaError, match="step 6 of full gave a loss that is not a number .*, 2 in a row"):
        train(cached, name="bad", steps=9, seed=3, patience=2, schedule="constant")
    (row,) = cached.rows("SELECT step, file FROM checkpoint JOIN run_expert ON id = run_expert WHERE run = 2")
    assert row["step"] == 4 and cached.path(row["file"]).read_bytes() == good.checkpoints["full"].read_bytes()


class Said(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def say(self, message: str) -> None:
        self.words.append(message)


def test_phases_change_sections_rate_and_levels(cached: Project) -> None:
    samples, member = encoded_samples(cached), cached.member
    phases = (
        {"from_step": 4, "sections": ("stills",)},
        {"from_step": 7, "learning_rate": 1e-3, "min_t": 0.2, "max_t": 0.25},
    )
    settings = TrainSettings(**SMALL | {"steps": 9, "phases": phases})
    schedule = Schedule(samples, settings, member.experts[0], member)
    plain = Schedule(samples, TrainSettings(**SMALL | {"steps": 9}), member.experts[0], member)
    draws = [schedule.step(n)[0] for n in range(1, 10)]
    assert draws[:3] == [plain.step(n)[0] for n in range(1, 4)]
    assert {d.sample.section for d in draws[:3]} == {"clips", "stills"} or len(draws[:3]) == 3
    assert {d.sample.section for d in draws[3:]} == {"stills"}
    stills = {s.key for s in samples if s.section == "stills" and not s.held_out}
    assert {d.sample.key for d in draws[3 : 3 + len(stills)]} == stills, "a phase begins an epoch of its own"
    assert all(0.2 <= d.t <= 0.25 for d in draws[6:]) and len({d.noise for d in draws}) == 9
    run = train(cached, steps=9, phases=phases)
    rates = [row["learning_rate"] for row in cached.rows("SELECT learning_rate FROM step ORDER BY step")]
    assert rates == pytest.approx([1e-2] * 6 + [1e-3] * 3) and len(run.losses["full"]) == 9
    assert {row["sample"] for row in item_losses(cached)[3:]} <= stills


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"phases": ({"from_step": 2, "sections": ("stils",)},), "steps": 3}, "the phase from step 2 names section 'stils', "
         "of which nothing is trained on; did you mean stills"),
        ({"phases": ({"from_step": 2},)}, "with phases give train.steps too"),
        ({"high": {"rank": 2}}, "train.high is for models of two experts, and .* is one; set it for the run itself"),
        ({"phases": ({"from_step": 2}, {"from_step": 2}), "steps": 3}, "phases stand in the order of their from_step"),
        ({"min_t": 0.5, "max_t": 0.5}, r"min_t \(0.5\) is to be below max_t"),
        ({"experts": ("hihg",)}, "hihg"),
        ({"wandb": "films", "steps": 1}, "train.wandb needs the package wandb"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_so_is_a_sentence(cached: Project, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SakugaError, match=words):
        train(cached, **settings)


def test_levels_follow_from_range_shift_and_tokens(cached: Project) -> None:
    samples, member = encoded_samples(cached), cached.member

    def levels(**settings: Any) -> list[tuple[int, float]]:
        schedule = Schedule(samples, TrainSettings(steps=300, **settings), member.experts[0], member)
        return [(d.sample.frames, d.t) for n in range(1, 301) for d in schedule.step(n)]

    narrow = [t for _, t in levels(min_t=0.3, max_t=0.4)]
    assert min(narrow) >= 0.3 and max(narrow) <= 0.4 and max(narrow) - min(narrow) > 0.09
    assert sum(t for _, t in levels(time_mean=-2.0)) < sum(t for _, t in levels(time_mean=2.0))
    spread = [statistics.pstdev(t for _, t in levels(time_scale=scale)) for scale in (0.3, 1.5)]
    assert spread[0] < spread[1]
    by_tokens = levels(shift="tokens")
    clips, stills = ([t for frames, t in by_tokens if (frames > 1) == clip] for clip in (True, False))
    assert statistics.mean(clips) > statistics.mean(stills), "more tokens, more of the way at high noise"
    sample = next(s for s in samples if s.frames > 1)
    tokens = member.tokens(sample.width, sample.height, sample.frames) / member.tokens(*member.sizes[0], member.frames)
    expected = time_at(0.3, "sigmoid", member.shift * tokens**0.5)
    assert level_at(0.3, sample, TrainSettings(shift="tokens"), member, (0.0, 1.0)) == pytest.approx(expected)


def test_each_expert_has_its_own_settings_and_they_take_turns(experts: Project) -> None:
    asked: dict[str, Any] = {
        "steps": 4, "turns": 2, "high": {"rank": 2, "steps": 3, "learning_rate": 5e-3}, "low": {"max_t": 0.5},
        "low_full_range": True,
    }  # fmt: skip
    said = Said()
    seen: list[tuple[str, int]] = []
    run = train(experts, **asked, progress=said, on_step=lambda report: seen.append((report.expert, report.step)))
    assert seen == [("high", 1), ("high", 2), ("low", 1), ("low", 2), ("high", 3), ("low", 3), ("low", 4)]
    rows = {row["expert"]: row for row in experts.rows("SELECT * FROM run_expert")}
    assert (rows["high"]["rank"], rows["high"]["steps_done"], rows["low"]["steps_done"]) == (2, 3, 4)
    assert (rows["low"]["t_min"], rows["low"]["t_max"]) == (0.0, 0.5) and rows["low"]["rank"] == 4
    levels = [row["t"] for row in experts.rows("SELECT t FROM item_loss WHERE run_expert = ?", rows["low"]["id"])]
    assert max(levels) <= 0.5
    planned = api.plan(experts, **{k: v for k, v in asked.items() if k != "turns"})
    assert planned.steps_of == {"high": 3, "low": 4} and planned.experts == {"high": 3, "low": 4}
    other = train(experts, **asked | {"turns": None}, name="one after the other")
    for name in ("high", "low"):
        assert run.checkpoints[name].read_bytes() == other.checkpoints[name].read_bytes()


def test_threads_that_read_ahead_change_nothing(cached: Project) -> None:
    runs = [train(cached, name=f"{n}", steps=8, accumulation=3, loaders=n) for n in (1, 4)]
    assert runs[0].losses == runs[1].losses
    assert runs[0].checkpoints["full"].read_bytes() == runs[1].checkpoints["full"].read_bytes()


def test_out_of_memory_goes_a_notch_down_and_does_the_step_again(
    cached: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forward pass that does not fit as long as more than one sample is computed at once, nothing is recomputed, and
    no block is streamed; where it fits the numbers are those of any training."""
    plain = train(cached, name="plain", steps=3, accumulation=6, batch=1)
    opened = Parts.transformer

    def small(self: Parts, expert: str) -> WanTransformer:
        model = opened(self, expert)

        def full(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            assert self.held is not None
            if torch.is_grad_enabled() and (len(inputs[0]) > 1 or not model.checkpointing or self.held.streamed < 2):
                raise torch.OutOfMemoryError("CUDA out of memory")

        model.register_forward_pre_hook(full)
        return model

    monkeypatch.setattr(Parts, "transformer", small)
    said = Said()
    run = train(
        cached, name="small", steps=3, accumulation=6, batch=4, checkpointing=False, progress=said, validate_every=9
    )
    told = [words for words in said.words if words.startswith("out of memory")]
    layers = cached.member.transformer.layers
    assert told[0].endswith("not 3") or told[0].endswith("not 4")
    assert "out of memory: blocks are computed again in the backward pass" in told
    assert "out of memory: the inputs of blocks wait in host memory for the backward pass" in told
    assert told[-1] == f"out of memory: the weights of 2 of {layers} blocks stay in host memory"
    assert run.losses["full"] == pytest.approx(plain.losses["full"], rel=1e-5)
    ours, theirs = (load_lora(r.checkpoints["full"]).tensors for r in (run, plain))
    for name, layer in theirs.items():
        torch.testing.assert_close(ours[name].B, layer.B, atol=1e-4, rtol=1e-3)


def test_a_small_card_learns_the_same_to_the_bit(cached: Project) -> None:
    """Under a cap that nothing fits, all weights are streamed and inputs of blocks wait in host memory."""
    held: list[Held | None] = []
    learner = Learner.__init__

    def watched(self: Learner, *given: Any) -> None:
        learner(self, *given)
        held.append(self.parts.held)
        assert (self.model.aside is not None) == (held[-1] is not None and held[-1].aside)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "__init__", watched)
        plain = train(cached, name="plain", steps=3, accumulation=2, weights="fp8", checkpointing=True)
        said = Said()
        small = train(cached, name="small", steps=3, accumulation=2, weights="fp8", vram=1e-6, progress=said)
    assert held == [Held("fp8"), Held("fp8", cached.member.transformer.layers, True)]
    layers = cached.member.transformer.layers
    assert said.words[1] == (
        f"full: weights in fp8, the weights of {layers} of {layers} blocks in host memory, the inputs of blocks in host memory "
        "until the backward pass"
    )
    assert small.losses == plain.losses
    assert small.checkpoints["full"].read_bytes() == plain.checkpoints["full"].read_bytes()


def test_inputs_wait_aside_only_where_the_host_holds_them(cached: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(cached.member, of_project(cached), torch.device("cpu"), torch.float32, vram=1e-6)
    parts.inputs = 6e9
    for free, aside in ((0, True), (9e9, False), (10e9, True)):  # 0: the system does not say
        monkeypatch.setattr("sakuga.nn.parts.free_memory", lambda device, free=free: free)
        parts.held = None
        assert parts.plan().aside == aside


def test_a_model_that_is_opened_again_wears_the_same_adapters(cached: Project) -> None:
    member, cpu = cached.member, torch.device("cpu")
    settings = TrainSettings(rank=4, include=("self_attn",), ranks={"self_attn.q": 2}, rslora=True, dropout=0.5)
    parts = Parts(member, of_project(cached), cpu, torch.float32)
    said: list[str] = []
    learner = Learner(parts, member.experts[0], settings, said.append)
    before = {name: (layer.A, layer.B, layer.scale, layer.dropout) for name, layer in learner.lora.layers.items()}
    model, known = learner.model, {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
    assert (
        learner._stream_more() and learner.model is not model and said[0].startswith("out of memory: the weights of 1")
    )
    after = {name: (layer.A, layer.B, layer.scale, layer.dropout) for name, layer in learner.lora.layers.items()}
    assert before.keys() == after.keys() and len(before) == 4 * member.transformer.layers
    assert all(one is other for name in before for one, other in zip(before[name][:2], after[name][:2], strict=True))
    assert all(before[name][2:] == after[name][2:] for name in before)
    assert {id(p) for p in learner.lora.parameters()} == known
    assert learner.model.training and all(layer.training for layer in learner.lora.layers.values())
    learner.close()


def test_what_fits_in_no_way_is_a_sentence_and_the_run_can_go_on(
    cached: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(cached, steps=3, should_stop=lambda: True)

    def never(self: Learner, batch: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch, pytest.raises(SakugaError, match="step 2 of full does not fit into memory"):
        patch.setattr(Learner, "losses", never)
        train(cached, steps=3)
    assert len(train(cached, steps=3).losses["full"]) == 2


def test_what_is_measured_is_the_same_after_a_stop(cached: Project) -> None:
    asked: dict[str, Any] = {"steps": 36, "validate_every": 12, "learning_rate": 1e-3}
    run = train(cached, **asked)
    lines = [json.loads(line) for line in (run.folder / "full.jsonl").read_text("utf-8").splitlines()]
    corrected = [line["loss/corrected"] for line in lines if "loss/corrected" in line]
    assert len(corrected) == 36
    assert all(f"lora_norm/blocks.{n}" in lines[-1] for n in range(cached.member.transformer.layers))
    assert lines[0]["lora_norm/blocks.0"] == 0 < lines[-1]["lora_norm/blocks.0"]
    steps = iter(range(20))
    train(cached, name="again", **asked, should_stop=lambda: next(steps, None) == 16)
    again = train(cached, name="again", **asked)
    lines = [json.loads(line) for line in (again.folder / "full.jsonl").read_text("utf-8").splitlines()]
    assert [line["loss/corrected"] for line in lines if "loss/corrected" in line] == corrected


def test_the_running_mean_is_what_is_saved(cached: Project) -> None:
    plain, mean = (train(cached, name=f"{ema}", steps=4, ema=ema) for ema in (0.0, 0.9))
    assert plain.losses == mean.losses, "steps do not see it"
    last, slow = (load_lora(run.checkpoints["full"]).tensors["blocks.0.self_attn.q"].B for run in (plain, mean))
    assert 0 < slow.norm() < last.norm()
    assert mean.validation["full"][4] != plain.validation["full"][4]


def test_a_training_begins_with_a_lora(cached: Project) -> None:
    first = train(cached, steps=3)
    said = Said()
    more = train(cached, name="more", steps=1, start_from="r", learning_rate=1e-9, progress=said)
    a, b = (load_lora(run.checkpoints["full"]).tensors["blocks.0.ffn.0"] for run in (first, more))
    torch.testing.assert_close(a.B, b.B, atol=1e-6, rtol=0)
    assert more.validation["full"][0] == pytest.approx(first.validation["full"][3], rel=1e-5)


def test_dropout_is_the_same_after_a_stop_and_absent_from_validation(cached: Project) -> None:
    asked: dict[str, Any] = {"steps": 4, "dropout": 0.5, "checkpointing": True, "optimizer": "automagic"}
    whole = train(cached, **asked)
    train(cached, name="cut", **asked, should_stop=lambda: True)
    cut = train(cached, name="cut", **asked)
    assert cut.checkpoints["full"].read_bytes() == whole.checkpoints["full"].read_bytes()
    assert cut.validation["full"][4] == whole.validation["full"][4]
    assert train(cached, name="dry", **asked | {"dropout": 0.0}).losses != whole.losses


def test_layers_and_ranks_by_pattern(cached: Project) -> None:
    run = train(
        cached, steps=1, include=("self_attn",), exclude=(r"blocks\.0\.",), ranks={r"\.q$": 2}, rslora=True, alpha=2.0
    )
    layers = load_lora(run.checkpoints["full"]).tensors
    assert all("self_attn" in name and not name.startswith("blocks.0.") for name in layers)
    ranks = {name.rpartition(".")[2]: (len(layer.A), layer.alpha) for name, layer in layers.items()}
    assert ranks["q"] == (2, pytest.approx(2 * 2**0.5)) and ranks["k"] == (4, pytest.approx(2 * 4**0.5))


def test_lines_and_curves_hold_the_same(cached: Project) -> None:
    run = train(cached, steps=3)
    lines = [json.loads(line) for line in (run.folder / "full.jsonl").read_text("utf-8").splitlines()]
    assert [line["loss/train"] for line in lines if "loss/train" in line] == run.losses["full"]
    assert [line["step"] for line in lines if "loss/validation" in line] == [0, 3]


def test_a_damaged_encoding_is_a_sentence(cached: Project) -> None:
    sample = encoded_samples(cached)[0]
    text = cached.path(text_file(sample.text))
    text.write_bytes(text.read_bytes()[:100])
    with pytest.raises(
        SakugaError,
        match=rf"{sample.item}: {text.name} is missing from the cache or damaged; `sakuga cache --verify` makes",
    ):
        train(cached, epochs=1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"rank": 8},
            "run r was begun with another rank; give a new --name to train with these settings .--start-from r to ",
        ),
        ({"phases": [{"from_step": 1, "learning_rate": 1.0}]}, "run r was begun with another phases; give"),
        ({"seed": 2, "learning_rate": 1e-3}, "run r was begun with another learning_rate, seed; give"),
        ({"resume": False}, "a run named r is there already"),
        ({"name": "../r"}, "the run's folder cannot be named so"),
        ({"lerning_rate": 1.0}, "lerning_rate is not a setting; did you mean learning_rate"),
        ({"device": "meta"}, "device 'meta' is none that Sakuga works on"),
    ],
)
def test_what_would_make_another_run_of_it_is_refused(cached: Project, settings: dict[str, Any], words: str) -> None:
    run = train(cached, steps=1)
    before = run.checkpoints["full"].read_bytes()
    with pytest.raises(SakugaError, match=words):
        train(cached, **{"steps": 2} | settings)
    assert run.checkpoints["full"].read_bytes() == before
    assert len(cached.rows("SELECT * FROM run")) == 1


def test_a_run_that_took_no_step_begins_with_the_settings_as_they_were_mended(cached: Project) -> None:
    with pytest.raises(SakugaError, match="there is no optimizer 'adamww'"):
        train(cached, steps=1, rank=2, optimizer="adamww")
    train(cached, steps=1)
    assert cached.rows("SELECT steps_done, rank FROM run_expert") == [{"steps_done": 1, "rank": 4}]
    assert (
        json.loads((cached.folder / "runs" / "r" / "recipe.json").read_text("utf-8"))["train"]["optimizer"] == "adamw"
    )


def test_a_run_takes_a_phase_that_it_has_not_reached_and_another_length(cached: Project) -> None:
    phases = [{"from_step": 3, "learning_rate": 1e-3}]
    train(cached, steps=2)
    run = train(cached, steps=4, phases=phases)
    whole = train(cached, name="whole", steps=4, phases=phases)
    assert run.checkpoints["full"].read_bytes() == whole.checkpoints["full"].read_bytes()
    with pytest.raises(SakugaError, match="run r was begun with another phases"):
        train(cached, steps=5)


def test_a_new_run_beside_one_that_is_not_done_is_told(cached: Project) -> None:
    train(cached, name=None, steps=3, should_stop=lambda: True)
    said = Said()
    train(cached, name=None, steps=3, rank=2, seed=2, progress=said, should_stop=lambda: True)
    assert said.words[0] == (
        "run-2 begins: full 3 steps (run-1, at step 1, was begun with another rank, seed, so this is a new run; to go on with "
        "that one, set them as they were)"
    )
    assert train(cached, name=None, steps=4, rank=2, seed=2).name == "run-2"  # longer, and the same run


def test_a_run_whose_state_is_gone_does_not_begin_anew_over_its_checkpoints(cached: Project) -> None:
    run = train(cached, steps=1)
    (run.folder / "state-full.safetensors").unlink()
    with pytest.raises(
        SakugaError, match="r was saved at step 1 of full, and .*state-full.safetensors is gone, without which"
    ):
        train(cached, steps=2)


def test_other_model_files_are_refused(cached: Project) -> None:
    train(cached, steps=1)
    weights = cached.folder / "models" / "transformer.safetensors"
    state = load_file(weights)
    weights.unlink()  # shared with the project this one was copied from
    save_file({name: tensor + 1 for name, tensor in state.items()}, weights)
    with pytest.raises(SakugaError, match="run r was begun on other model files"):
        train(cached, steps=2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "looks.txt cannot be read: No such file"),
        ("# nothing\n", "looks.txt holds no prompt"),
        ("a boat --w wide", r"looks.txt: line 1: --w \(width\) takes a whole number"),
    ],
)
def test_a_fault_of_the_prompt_file_stops_before_a_run_begins(cached: Project, text: str | None, words: str) -> None:
    if text is not None:
        (cached.folder / "looks.txt").write_text(text)
    with pytest.raises(SakugaError, match=words):
        train(cached, prompts="looks.txt")
    assert cached.rows("SELECT * FROM run") == []


def test_a_dataset_that_is_all_held_out_is_a_sentence(cached: Project) -> None:
    cached.db.execute("UPDATE sample SET held_out = 1")
    with pytest.raises(SakugaError, match="every sample is held out; lower plan.holdout or add items"):
        loop.train(cached, TrainSettings())


def test_it_saves_and_stops_when_another_asks(cached: Project) -> None:
    live: list[control.Live | None] = []

    def ask(report: StepReport) -> None:
        with Project(cached.folder) as other:
            live.append(control.read_live(cached.folder / "runs" / "r"))
            if report.step in (2, 4):
                control.ask(other, "save" if report.step == 2 else "stop")

    run = train(cached, steps=9, on_step=ask, save_every=9)
    assert run.stopped and len(run.losses["full"]) == 4
    assert [row["step"] for row in cached.rows("SELECT step FROM checkpoint ORDER BY step")] == [2, 4]
    first = live[0]
    assert first is not None and (first.expert, first.step, first.total) == ("full", 1, 9)
    assert first.loss == pytest.approx(run.losses["full"][0]) and first.seconds_left
    assert not [path for path in run.folder.iterdir() if control.is_passing(path.name)]
    assert len(train(cached, steps=9).losses["full"]) == 5


def test_old_checkpoints_go_and_time_saves_too(cached: Project) -> None:
    train(cached, steps=6, save_every=1, keep=1, keep_every=4, validate_every=9)
    steps = [row["step"] for row in cached.rows("SELECT step FROM checkpoint ORDER BY step")]
    assert steps == [4, 6] and len(list((cached.folder / "runs" / "r" / "checkpoints").iterdir())) == 2
    train(cached, name="timed", steps=3, save_every=9, save_minutes=1e-9)
    assert len(cached.rows("SELECT 1 FROM checkpoint JOIN run_expert ON id = run_expert WHERE run = 2")) == 3


def test_a_run_goes_on_in_the_precision_that_it_began_with(cached: Project) -> None:
    train(cached, steps=2, precision="bf16", weights="fp8", should_stop=lambda: True)
    run = train(cached, steps=2)
    whole = train(cached, name="whole", steps=2, precision="bf16", weights="fp8")
    assert run.checkpoints["full"].read_bytes() == whole.checkpoints["full"].read_bytes()
    plain = json.loads(cached.rows("SELECT settings FROM run WHERE name = 'r'")[0]["settings"])
    assert (plain["precision"], plain["weights"]) == ("bf16", "fp8")
    with pytest.raises(SakugaError, match="run r was begun with another precision"):
        train(cached, steps=2, precision="fp32")
    train(cached, name="open", steps=1)
    row = json.loads(cached.rows("SELECT settings FROM run WHERE name = 'open'")[0]["settings"])
    assert (row["precision"], row["weights"]) == ("fp32", None)


def test_what_changed_while_it_was_stopped_is_told_and_encoded_alone(cached: Project) -> None:
    train(cached, steps=3, should_stop=lambda: True)
    said = Said()
    train(cached, steps=3, progress=said, should_stop=lambda: True)
    assert not [words for words in said.words if "since it stopped" in words]
    item = encoded_samples(cached)[0].item
    texts = {path.name for path in (cached.folder / "cache" / "text").iterdir()}
    (cached.folder / "dataset" / f"{item}.txt").write_text("MyStyle. another caption", "utf-8")
    clips = cached.settings.sections["clips"].model_copy(update={"weight": 2.0})
    cached.settings = cached.settings.model_copy(update={"sections": {**cached.settings.sections, "clips": clips}})
    said = Said()
    train(cached, steps=3, progress=said)
    told = [words for words in said.words if "since it stopped" in words]
    assert told == [
        f"r: since it stopped, other captions: {item}",
        "r: since it stopped, other settings: weight of clips",
    ]
    assert len({path.name for path in (cached.folder / "cache" / "text").iterdir()} - texts) == 1
