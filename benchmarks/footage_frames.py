"""Whether every exported frame is the right one: films whose frames carry their number in pixels, through the real stages.

    python benchmarks/footage_frames.py [--seconds 6] [--kinds mkv,mp4]

For each rate and container a film is written, added, cut into its shots, and exported at 16 and at 24 frames a second.
The numbers read from the clips are compared with those that the timestamps of the film name, in rational numbers and
independently of Sakuga: at moment start + k / fps stands the last frame whose time has come.
"""

import argparse
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import machine

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import films

RATES = {
    "12": Fraction(12), "23.976": Fraction(24000, 1001), "24": Fraction(24), "25": Fraction(25),
    "29.97": Fraction(30000, 1001), "30": Fraction(30), "50": Fraction(50), "60": Fraction(60),
}  # fmt: skip
KINDS = {
    "mkv": {}, "mp4": {}, "ts": {}, "avi": {"codec": "mpeg4", "options": {"qscale": "2"}},
    "webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
}  # fmt: skip
MODELS = {16: "wan2.1-t2v-1.3b", 24: "wan2.2-ti2v-5b"}  # frames a second: a model of that rate
TICK = Fraction(1, 1000)
JITTER = (0, 7, -9, 4, 11, -5)  # ms, of a variable rate


def film_times(rate: Fraction | None, seconds: int) -> list[Fraction]:
    """When each frame is shown (s): exact for a constant rate; 20 to 50 ms apart for a variable one (None)."""
    if rate is not None:
        return [n / rate for n in range(int(seconds * rate))]
    times, now = [], 0
    for n in range(seconds * 28):
        times.append(now * TICK)
        now += 35 + JITTER[n % len(JITTER)] + (15 if n % 40 == 0 else 0)
    return times


def write(path: Path, rate: Fraction | None, seconds: int) -> list[Fraction]:
    """A film whose frame n shows n; returns when each is shown."""
    times = film_times(rate, seconds)
    how: dict[str, Any] = dict(KINDS[path.suffix[1:]])
    if rate is None:
        how |= {"pts": [int(t / TICK) for t in times], "time_base": TICK}
    pictures = (films.number_picture(n, (256, 192)) for n in range(len(times)))
    films.write_film(path, pictures, rate or 30, **how)
    return times


def expected(times: list[Fraction], first: int, last: int, fps: int) -> list[int]:
    """The frames shown from frame `first` on, at `fps`, until the one after `last`."""
    end = times[last + 1] if last + 1 < len(times) else 2 * times[last] - times[last - 1]
    moments = []
    while times[first] + Fraction(len(moments), fps) < end:
        moments.append(times[first] + Fraction(len(moments), fps))
    return [max(n for n in range(first, last + 1) if times[n] <= m) for m in moments]


def measured(films_of: dict[Path, list[Fraction]], folder: Path, fps: int) -> dict[str, dict[str, int]]:
    """Frames of all clips of each film at `fps`: how many there are, how many are the right ones."""
    import sakuga
    from sakuga.core.media.film import frames

    found = {path.stem: dict.fromkeys(("clips", "count_exact", "frames", "right"), 0) for path in films_of}
    with sakuga.new(folder, MODELS[fps], "Bench") as project:
        sakuga.add(project, films_of)
        sakuga.shots(project, min_seconds=2.0)
        shots = {row["name"]: row for row in project.rows("SELECT * FROM shot")}
        sakuga.pick(project, keep=shots)
        sakuga.export(project, max_seconds=60, stills=0, crop_borders=False, one_shot=False)
        margin, stride = project.settings.export.margin, project.member.vae.stride[0]
        times_of = {path.stem: times for path, times in films_of.items()}
        for item in project.rows("SELECT * FROM item WHERE kind = 'clip'"):
            shot = shots[item["shot"]]
            told = found[shot["film"]]
            last = shot["last"] - margin - shot["soft_out"]
            wanted = expected(times_of[shot["film"]], shot["first"] + margin + shot["soft_in"], last, fps)
            wanted = wanted[: (len(wanted) - 1) // stride * stride + 1]
            got = [films.read_number(rgb) for _, rgb in frames(project.path(item["file"]))]
            told["clips"] += 1
            told["frames"] += len(wanted)
            told["count_exact"] += len(got) == len(wanted)
            told["right"] += sum(a == b for a, b in zip(got, wanted, strict=False))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=4, help="length of each film")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--fps", default="16,24", help="of the clips")
    options = parser.parse_args()
    found: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        made: dict[Path, list[Fraction]] = {}
        for kind in options.kinds.split(","):
            for name, rate in [*RATES.items(), ("variable", None)]:
                if rate is not None or kind != "avi":  # which holds frames of one length only
                    path = Path(folder) / f"{name.replace('.', '_')}-{kind}.{kind}"
                    made[path] = write(path, rate, options.seconds)
        for fps in map(int, options.fps.split(",")):
            told = measured(made, Path(folder) / str(fps), fps)
            found |= {f"{name} at {fps}": counts for name, counts in told.items()}
            sys.stdout.write("".join(f"{name} at {fps}: {counts}\n" for name, counts in told.items()))
            sys.stdout.flush()
    total = {key: sum(told[key] for told in found.values()) for key in ("clips", "count_exact", "frames", "right")}
    figures = {"seconds_per_film": options.seconds, "total": total, "films": found}
    name = "footage-frames-" + options.fps.replace(",", "-")
    sys.stdout.write(f"{total}\n{machine.write(name, figures)}\n")
    sys.exit(total["right"] != total["frames"] or total["count_exact"] != total["clips"])


if __name__ == "__main__":
    main()
