"""What each trick of generation costs and changes: the embedded model, one seed, against plain sampling in the same run.

    python benchmarks/tricks.py

`time` is the sampling alone over that of plain sampling, `changed` the mean difference of the pictures in levels of 255.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch

from sakuga import api
from sakuga.core import models
from sakuga.core.family import NEGATIVE_PROMPT
from sakuga.nn.denoise import sample_all
from sakuga.nn.guidance import Tricks
from sakuga.nn.parts import Parts
from sakuga.nn.render import Request, pictures_of, sampling_of

PROMPT, SIZE, STEPS, GUIDANCE = "a red car in a meadow", (96, 64, 17), 20, 3.0
TRICKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "batched": {"batched": True},
    "cfg_zero": {"cfg_zero": True},
    "skip_layers 1": {"skip_layers": (1,), "skip_span": (0.1, 0.9)},
    "enhance_video 2": {"enhance_video": 2.0},
    "reuse 0.05": {"reuse": 0.05},
    "reuse 0.1": {"reuse": 0.1},
    "reuse 0.2": {"reuse": 0.2},
    "guidance 1": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder, api.new(Path(folder) / "p", "tiny") as project:
        parts = Parts(project.member, models.of_project(project), torch.device("cpu"), torch.float32)
        words = parts.text().encode([PROMPT, NEGATIVE_PROMPT])
        request = Request(words[0], words[1], *SIZE, seed=1, steps=STEPS, guidance={"full": GUIDANCE})
        model = {"full": parts.transformer("full")}
        seconds: dict[str, list[float]] = {name: [] for name in TRICKS}
        found: dict[str, Any] = {}
        for _ in range(repeats):
            for name, how in TRICKS.items():
                asked = replace(request, tricks=Tricks(**how))
                if name == "guidance 1":
                    asked = replace(asked, guidance={"full": 1.0})
                reused: list[bool] = []
                sampling = sampling_of(
                    project.member, asked, parts.device, lambda report, to=reused: to.append(report.reused)
                )
                begun = time.perf_counter()
                sample_all([sampling], model)
                seconds[name].append(time.perf_counter() - begun)
                found[name] = sampling.x_BCFHW, sum(reused)
        vae = parts.vae()
        pictures = {name: pictures_of(vae, latents).astype(np.float32) for name, (latents, _) in found.items()}
    plain = statistics.median(seconds["plain"])
    figures = {
        name: {
            "time": round(statistics.median(took) / plain, 2), "steps_reused": found[name][1],
            "changed": round(float(np.abs(pictures[name] - pictures["plain"]).mean()), 2),
        } for name, took in seconds.items()
    }  # fmt: skip
    print(machine.write("tricks", {"size": SIZE, "steps": STEPS, "guidance": GUIDANCE, "tricks": figures}))
    for name, each in figures.items():
        print(name, each)


if __name__ == "__main__":
    main()
