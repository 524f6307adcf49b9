"""A training step: what it costs beside the bare network, how soon the first one comes, and how near it is to the floor.

    python benchmarks/train_step.py cpu                       # our step over the bare one, and the first step: a minute
    python benchmarks/train_step.py device                    # tiny, against its floor, in seconds
    python benchmarks/train_step.py device --model wan2.1-t2v-14b --device cuda --memory 24 16 12
    python benchmarks/train_step.py device --model wan2.1-t2v-14b --device cuda --weights fp8 --shape 384 208 45
    python benchmarks/train_step.py device --model wan2.1-t2v-14b --device cuda --memory 24 16 12 --minutes 9 --out FOLDER

cpu: a training of the tiny model runs as it does for a person: loader, step, rows, curves. After each of its steps the bare
is run on the same tensors: forward, backward and torch's AdamW of the same network, nothing else. Then `sakuga train` is
started on a project whose caches are warm, until its first step is noted.

device: `Learner.step`, as training calls it, on random weights and tensors, held (bf16, fp8, streamed) as training would
hold them in the memory that the card has or --memory gives it. The floor is the matrix work at the GEMM rate measured in
the same run, and self-attention measured alone, with the recompute that the step does. Results are written after each
row; --minutes begins no row after so many, and --out says where they go. On an H200 a row of the 14B is thought to take 10 to
40 seconds, of 832x480x81 two minutes: the card whole in one call, the caps in another. Host memory: 28 GB for all blocks in bf16.
"""

import argparse
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch
from generate import copy_rate
from step import attention_seconds, gemm_rate, matrix_flop, random_model, seconds

from sakuga.core.cost import GB, Held, input_bytes, step_memory
from sakuga.core.dataset import Encoded
from sakuga.core.errors import SakugaError
from sakuga.core.family import Member, member
from sakuga.core.settings import TrainSettings
from sakuga.nn import flow
from sakuga.nn.compiled import compile_blocks
from sakuga.nn.device import pick_device, pick_dtype
from sakuga.nn.lora import inject
from sakuga.nn.parts import NAMES, Parts
from sakuga.nn.text import pad_text
from sakuga.nn.transformer import WanTransformer
from sakuga.nn.weights import load_transformer
from sakuga.stages.train import StepReport
from sakuga.stages.train.data import Batch, Draw
from sakuga.stages.train.loader import Loaded, Loader
from sakuga.stages.train.step import Learner, Stepped

SHAPES = ((384, 208, 45), (768, 416, 21), (768, 768, 1), (832, 480, 81))
CLIPS, FPS = 10, 16
WARM = 5  # steps that are not counted
POLL = 0.01  # seconds between looks at whether the first step is there
WORDS = 100  # tokens of a caption


# On the CPU: our step over the bare one


def make_project(folder: Path) -> Path:
    """A project of drawn clips for the tiny model, planned and encoded."""
    from sakuga import api  # for `device` none of these is needed, nor need a machine with a card have them
    from sakuga.core.media.clip import write_clip
    from sakuga_world.draw import draw_clip
    from sakuga_world.look import CEL
    from sakuga_world.scene import random_scene
    from sakuga_world.words import caption

    rng, source = np.random.default_rng(1), folder / "drawn"
    source.mkdir()
    for number in range(CLIPS):
        scene = random_scene(rng)
        write_clip(source / f"c{number}.mp4", iter(draw_clip(scene, CEL, frames=17)), FPS)
        (source / f"c{number}.txt").write_text(f"MyStyle. {caption(scene, rng)}", encoding="utf-8")
    with api.new(folder / "p", "tiny", "MyStyle") as project:
        api.adopt(project, [source])
        api.cache(project)
    return folder / "p"


class Bare:
    """Forward, backward and AdamW of the same network with the same adapters, on tensors that lie ready."""

    def __init__(self, wan: Member, path: Path, settings: TrainSettings) -> None:
        self.model = load_transformer(wan.transformer, path, torch.float32)
        self.text_length = wan.text.length
        lora = inject(self.model, settings.rank, float(settings.rank), settings.seed)
        self.optimizer = torch.optim.AdamW(lora.parameters(), lr=settings.learning_rate)

    def given(self, loaded: Loaded) -> tuple[torch.Tensor, ...]:
        ((_, batch),) = loaded.batches
        noised = flow.noise_latents(batch.latent, batch.noise, batch.t)
        text = pad_text(batch.texts, self.text_length)
        return noised, flow.model_time(batch.t), text, flow.target(batch.latent, batch.noise)

    def gradients(self, noised: torch.Tensor, t: torch.Tensor, text: torch.Tensor, target: torch.Tensor) -> None:
        (self.model(noised, t, text) - target).square().mean().backward()

    def update(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class Watch:
    """Both steps by turns: the bare one after each of a training, on what that one saw.

    Seconds of the clock, of the thread that trains, and of all threads: what is not the first's is the loader's.
    """

    def __init__(self, bare: Bare) -> None:
        self.bare = bare
        self.loaded: Loaded | None = None
        self.rows: list[dict[str, float]] = []
        self.learner: dict[str, float] = {}
        self.begun = _now()

    def wrap(self, step: Callable[..., Stepped]) -> Callable[..., Stepped]:
        """`Learner.step`, timed: the rest of a step is loader, rows and curves."""

        def timed(learner: Learner, loaded: Loaded, *rest: Any) -> Stepped:
            self.loaded, begun = loaded, _now()
            stepped = step(learner, loaded, *rest)
            self.learner = _since(begun)
            return stepped

        return timed

    def stepped(self, report: StepReport) -> None:
        assert self.loaded is not None
        whole, given = _since(self.begun), self.bare.given(self.loaded)
        begun = _now()
        self.bare.gradients(*given)
        gradients = _since(begun)
        self.bare.update()
        each = {"ours": whole, "learner": self.learner, "gradients": gradients, "bare": _since(begun)}
        self.rows.append({f"{part}_{clock}": spent for part, clocks in each.items() for clock, spent in clocks.items()})
        self.begun = _now()


def _now() -> dict[str, float]:
    return {"wall": time.perf_counter(), "thread": time.thread_time(), "process": time.process_time()}


def _since(begun: dict[str, float]) -> dict[str, float]:
    return {clock: now - begun[clock] for clock, now in _now().items()}


def over_bare(folder: Path, steps: int) -> dict[str, Any]:
    """Our whole step over the bare one, and the shares of what is neither forward, backward nor optimizer."""
    from sakuga import api
    from sakuga.core.models import of_project

    torch.set_num_threads(1)  # so that the thread that trains is all that computes
    with api.open_project(folder) as project:
        settings = TrainSettings(rank=32, steps=steps + WARM)
        watch = Watch(Bare(project.member, of_project(project)["transformer"], settings))
        original = Learner.step
        Learner.step = watch.wrap(original)  # type: ignore[method-assign]
        try:
            api.train(project, name="over-bare", rank=32, steps=steps + WARM, on_step=watch.stepped)
        finally:
            Learner.step = original  # type: ignore[method-assign]
    rows = watch.rows[WARM:]

    def middle(of: Callable[[dict[str, float]], float]) -> float:
        return round(statistics.median(map(of, rows)), 4)

    return {
        "steps": len(rows),
        "ours_seconds": middle(lambda r: r["ours_wall"]),
        "bare_seconds": middle(lambda r: r["bare_wall"]),
        "over_bare_wall": middle(lambda r: r["ours_wall"] / r["bare_wall"]),
        "over_bare_processor": middle(lambda r: r["ours_process"] / r["bare_process"]),
        "over_forward_backward": middle(lambda r: r["ours_process"] / r["gradients_process"]),
        "learner_over_bare": middle(lambda r: r["learner_thread"] / r["bare_thread"]),
        "logging_share": middle(lambda r: (r["ours_thread"] - r["learner_thread"]) / r["ours_process"]),
        "loader_share": middle(lambda r: (r["ours_process"] - r["ours_thread"]) / r["ours_process"]),
        "waiting_share": middle(
            lambda r: (r["ours_wall"] - r["learner_wall"] - r["ours_thread"] + r["learner_thread"]) / r["ours_wall"]
        ),
    }


def first_step(folder: Path, repeats: int) -> dict[str, Any]:
    """Seconds from the command to the first step of `sakuga train`, everything encoded; the first run is not counted."""
    took = [_first_step(folder, f"first-{n}") for n in range(repeats + 1)][1:]
    return {"seconds": round(statistics.median(took), 2), "most": round(max(took), 2)}


def _first_step(folder: Path, name: str) -> float:
    curves = folder / "runs" / name / "full.jsonl"
    words = [sys.executable, "-m", "sakuga", "train", "--name", name, "--steps", "1", "--rank", "32"]
    started = time.perf_counter()
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as training:
        while not (curves.exists() and "loss/train" in curves.read_text(encoding="utf-8")):
            if training.poll() not in (None, 0):
                raise SystemExit(f"`sakuga train` ended with {training.returncode} before its first step")
            time.sleep(POLL)
        return time.perf_counter() - started


# On a device: our step over its floor


class RandomParts(Parts):
    """Transformers of random weights, held as those of a file would be."""

    def _transformer(self, path: Path) -> WanTransformer:
        shape = self.member.transformer
        model = random_model(self.member, shape.layers, self.device, self.dtype, self.plan())
        if self.compile:
            compile_blocks(model)
        return model


class RandomLoader(Loader):
    """One step's random tensors, again and again: nothing is read."""

    def __init__(self, wan: Member, size: tuple[int, int, int], batch: int, device: torch.device) -> None:
        self.wan, self.size, self.batch, self.smaller = wan, size, batch, False
        self.pinned = device.type == "cuda"

    def load(self, draws: list[Draw], number: int) -> Loaded:
        batches = []
        for first in range(0, len(draws), self.batch):
            places = list(range(first, min(first + self.batch, len(draws))))
            shape = (len(places), *self.wan.latent_shape(*self.size))
            texts = [torch.randn(min(WORDS, self.wan.text.length), self.wan.text.dim) for _ in places]
            batch = Batch(torch.randn(shape), torch.randn(shape), torch.tensor([draws[n].t for n in places]), texts)
            batches.append((places, batch.pinned() if self.pinned else batch))
        return Loaded(number, draws, batches)


def draws(size: tuple[int, int, int], count: int) -> list[Draw]:
    width, height, frames = size
    sample = Encoded(
        "s", "item", "file", "clip", str(FPS), None, 0, frames, width, height, 1, False, "", "latent", "text", "text"
    )
    return [Draw(sample, (n + 0.5) / count, ("n", n)) for n in range(count)]


def on_device(
    wan: Member, size: tuple[int, int, int], device: torch.device, memory: float | None, options: argparse.Namespace
) -> dict[str, Any]:
    """Seconds a step, the share of the floor, and the peak; or why it did not fit."""
    settings = TrainSettings(
        rank=options.rank, device=str(device), weights=options.weights, stream=options.stream, vram=memory,
        accumulation=options.batch, batch=options.batch, checkpointing=True if options.checkpointing else None,
    )  # fmt: skip
    told: list[str] = []
    figures: dict[str, Any] = {"size": size, "tokens": wan.tokens(*size), "memory_cap_gb": memory, "told": told}
    _empty(device)
    parts = RandomParts(
        wan, {"transformer": Path("random")}, device, pick_dtype(settings.precision, device), weights=settings.weights,
        stream=settings.stream, vram=memory, compile=options.compile,
    )  # fmt: skip
    parts.beside = step_memory(wan, settings.rank, wan.tokens(*size), weight_bytes=0, batch=options.batch).total * GB
    parts.inputs = input_bytes(wan.transformer, wan.tokens(*size), options.batch)
    try:
        return figures | _measured(parts, size, settings, options, told)
    except (SakugaError, torch.OutOfMemoryError) as error:
        return figures | {"fits": False, "error": str(error).partition("\n")[0]}
    finally:
        parts.release()
        _empty(device)


def _measured(
    parts: Parts, size: tuple[int, int, int], settings: TrainSettings, options: argparse.Namespace, told: list[str]
) -> dict[str, Any]:
    wan, device, batch, repeats = parts.member, parts.device, options.batch, options.repeats
    layers, tokens = wan.transformer.layers, wan.tokens(*size)
    took, again, memory = _step_seconds(parts, size, settings, options, told)
    _empty(device)  # the model is gone: the rates are measured without it
    held = parts.held or Held(NAMES[parts.dtype])
    rate = gemm_rate(tokens, wan, device, parts.dtype, repeats)
    attention = batch * layers * attention_seconds(tokens, wan, device, parts.dtype, again, repeats)
    floor = batch * matrix_flop(tokens, wan, layers, again) / rate + attention
    figures = {
        "fits": True, "weights": held.kind, "streamed": held.streamed, "inputs_on_host": held.aside, "recompute": again,
        "step_seconds": took, "floor_seconds": floor, "share_of_floor": floor / took,
        "attention_seconds": attention, "gemm_tflops": rate / 1e12, **memory,
        "copies_gb_per_second": copy_rate(wan, device, parts.dtype, held, repeats) if held.streamed else None,
    }  # fmt: skip
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}


def _step_seconds(
    parts: Parts, size: tuple[int, int, int], settings: TrainSettings, options: argparse.Namespace, told: list[str]
) -> tuple[float, bool, dict[str, float]]:
    """Seconds of a step, whether it runs blocks again, and the memory that it took (GB, on a card)."""
    device = parts.device
    learner = Learner(parts, parts.member.experts[0], settings, told.append)
    loader = RandomLoader(parts.member, size, options.batch, device)
    loaded = loader.load(draws(size, options.batch), 1)
    if device.type == "cuda":
        learner.rehearse(loaded, loader)  # as training does: what does not fit goes its notches down here
        torch.cuda.reset_peak_memory_stats(device)

    def step() -> None:
        assert learner.step(loader.load(loaded.draws, 1) if loader.smaller else loaded, 1.0, loader).finite

    took = seconds(step, device, options.repeats)
    again = learner.model.checkpointing or learner.model.stream is not None
    memory = {}
    if device.type == "cuda":
        memory["peak_gb"] = torch.cuda.max_memory_allocated(device) / GB
        memory["reserved_gb"] = torch.cuda.max_memory_reserved(device) / GB
    learner.close()
    return took, again, memory


def _empty(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


# What is asked for


def cpu(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        home = make_project(Path(folder))
        load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
        figures = {"load_before": load, "over_bare": over_bare(home, options.steps)}
        figures["first_step"] = first_step(home, options.repeats)
    return "train-step-cpu", figures


def device(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    wan, where = member(options.model), pick_device(options.device)
    if options.layers:
        wan = replace(wan, transformer=replace(wan.transformer, layers=options.layers))
    shapes = options.shape or ([(*wan.sizes[0], wan.frames)] if wan.tiny else SHAPES)
    asked = {"model": wan.name, "layers": wan.transformer.layers, "rank": options.rank, "batch": options.batch}
    asked |= {"compile": options.compile, "dtype": str(pick_dtype(None, where)).removeprefix("torch.")}
    suffix = [options.weights] * bool(options.weights) + ["compile"] * options.compile
    suffix += [f"stream{options.stream}"] * (options.stream is not None)
    suffix += ["-".join(f"{memory:g}" for memory in options.memory or ()) + "gb"] * bool(options.memory)
    name = "-".join(["train-step", wan.name, where.type, *suffix])
    rows: list[dict[str, Any]] = []
    figures = {**asked, "rows": rows, "left_out": []}
    begun = time.monotonic()
    for memory in options.memory or (None,):
        for size in map(tuple, shapes):
            if time.monotonic() - begun > 60 * options.minutes:
                figures["left_out"].append({"size": size, "memory_cap_gb": memory})
                continue
            rows.append(on_device(wan, size, where, memory, options))
            print(rows[-1], flush=True)
            machine.write(name, figures, options.out)  # what was measured stays, whatever comes
    return name, figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cpu", "device"))
    parser.add_argument("--steps", type=int, default=60, help="cpu: steps that are counted")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--shape", nargs=3, type=int, action="append", metavar=("WIDTH", "HEIGHT", "FRAMES"))
    parser.add_argument("--layers", type=int, help="fewer layers than the model has")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--weights", help="how large weights are stored (bf16, fp8); else as memory allows")
    parser.add_argument("--stream", type=int, help="blocks in host memory; else as memory allows")
    parser.add_argument(
        "--memory", type=float, nargs="*", help="GB that the card may use, each to stand in for a smaller one"
    )
    parser.add_argument("--checkpointing", action="store_true", help="recompute blocks on a CPU too")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=machine.RESULTS, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing after so many")
    options = parser.parse_args()
    name, figures = cpu(options) if options.what == "cpu" else device(options)
    print(f"{figures}\n{machine.write(name, figures, options.out)}")


if __name__ == "__main__":
    main()
