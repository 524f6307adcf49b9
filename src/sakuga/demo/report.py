"""The report of a demo: one HTML file that needs nothing beside it, and the same in short as a PNG."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

from ..core.files import write_atomic
from . import pictures
from .chart import loss_chart
from .effect import Effect, Figure, Neighbour

SHOWN_LARGE, SHOWN_SMALL = 4, 12  # pairs


@dataclass(frozen=True)
class Shown:
    """A shot or an item as a small picture, with its words; what is left out says why."""

    picture: bytes
    words: str
    left_out: str = ""


@dataclass(frozen=True)
class Pair:
    """One prompt: what the base draws, what the LoRA draws, whether each fact is seen, and the nearest frame."""

    prompt: str
    base_FHWC: np.ndarray
    lora_FHWC: np.ndarray
    seen: Mapping[str, bool]
    near: Neighbour


@dataclass(frozen=True)
class Handover:
    """How two experts shared the work, and of some prompts the high one's last estimate and what became of it."""

    words: str
    videos: Sequence[tuple[str, np.ndarray, np.ndarray]]  # prompt, estimate, final, both [F, H, W, 3]


@dataclass(frozen=True)
class Report:
    """All that the report tells."""

    title: str
    machine: str
    seconds: float
    trigger: str
    effect: Effect
    pairs: Sequence[Pair]
    films: Mapping[str, Sequence[Shown]]
    dataset: Sequence[Shown]
    losses: Mapping[str, Sequence[float]]  # by expert
    validation: Mapping[str, Mapping[int, float]]
    lora: Sequence[Path]
    handover: Handover | None = None

    def headline(self) -> list[str]:
        """The figures in words."""
        style, e = self.effect.style, self.effect
        return [
            f"style of the film: {_spread(style['base'])} without the LoRA, {_spread(style['lora'])} with it",
            f"prompt: {e.right['base'].mean:.0%} of what was asked is seen without it, {e.right['lora'].mean:.0%} with it",
            f"motion: {e.motion_ratio:.2f} times that of the films",
        ]


def write_report(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write report.html and report.png; returns their paths."""
    page = Template(files(__package__).joinpath("report.html").read_text("utf-8")).substitute(_parts(report))
    write_atomic(folder / "report.html", page)
    chosen = report.pairs[:6]
    rows = [("base", [p.base_FHWC[len(p.base_FHWC) // 2] for p in chosen])]
    rows += [("LoRA", [p.lora_FHWC[len(p.lora_FHWC) // 2] for p in chosen])]
    prompts = [p.prompt.removeprefix(f"{report.trigger}. ") for p in chosen]
    poster = pictures.poster(rows, prompts, report.title, report.headline())
    temporary = folder / "report.png.tmp"
    poster.save(temporary, "PNG", optimize=True)
    temporary.replace(folder / "report.png")
    return folder / "report.html", folder / "report.png"


def _parts(report: Report) -> dict[str, str]:
    minutes, seconds = divmod(round(report.seconds), 60)
    effect = report.effect
    return {
        "title": html.escape(report.title),
        "machine": html.escape(report.machine),
        "time": f"{minutes} min {seconds:02d} s",
        "episodes": f"{len(report.films)} episode{'s' * (len(report.films) != 1)}",
        "trigger": html.escape(report.trigger),
        "style_base": _spread(effect.style["base"]),
        "style_lora": _spread(effect.style["lora"]),
        "style_bar": f"{100 * min(max(effect.style['lora'].mean, 0), 1):.0f}",
        "measures": _measures(effect),
        "kept": f"{effect.kept:.0%}",
        "right_base": f"{effect.right['base'].mean:.0%}",
        "right_lora": f"{effect.right['lora'].mean:.0%}",
        "facts": _facts(effect),
        "motion": f"{effect.motion_ratio:.2f}",
        "motion_spread": _spread(effect.motion["lora"], 3),
        "motion_films": _spread(effect.motion["films"], 3),
        "count": str(len(report.pairs)),
        "large": "".join(_pair(pair, report.trigger) for pair in report.pairs[:SHOWN_LARGE]),
        "small": "".join(_pair(p, report.trigger) for p in report.pairs[SHOWN_LARGE : SHOWN_LARGE + SHOWN_SMALL]),
        "near": "".join(_near(pair, report.trigger) for pair in report.pairs[:SHOWN_SMALL]),
        "films": "".join(_film(name, shots) for name, shots in report.films.items()),
        "dataset": "".join(map(_figure, report.dataset)),
        "losses": "".join(_chart(name, report) for name in report.losses),
        "handover": _handover(report.handover, report.trigger) if report.handover else "",
        "lora": "".join(f"<li><code>{html.escape(str(path))}</code></li>" for path in report.lora),
    }


def _spread(figure: Figure, digits: int = 2) -> str:
    return f"{figure.mean:.{digits}f} ± {figure.spread:.{digits}f}"


def _measures(effect: Effect) -> str:
    base, lora = effect.measures["base"], effect.measures["lora"]
    return _table(("", "base", "LoRA"), [(name, f"{base[name]:.2f}", f"{lora[name]:.2f}") for name in lora])


def _facts(effect: Effect) -> str:
    base, lora = effect.facts["base"], effect.facts["lora"]
    return _table(("", "base", "LoRA"), [(name, f"{base[name]:.0%}", f"{lora[name]:.0%}") for name in lora])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return "<table><tr>" + "".join(f"<th>{cell}</th>" for cell in head) + f"</tr>{lines}</table>"


def _pair(pair: Pair, trigger: str) -> str:
    missed = [fact for fact, there in pair.seen.items() if not there]
    note = f' <span class="missed">not seen: {html.escape(", ".join(missed))}</span>' if missed else ""
    words = html.escape(pair.prompt.removeprefix(f"{trigger}. "))
    picture = _img(pictures.moving_pair(pair.base_FHWC, pair.lora_FHWC), words)
    return f"<figure>{picture}<figcaption>{words}{note}</figcaption></figure>"


def _handover(handover: Handover, trigger: str) -> str:
    figures = []
    for prompt, estimate_FHWC, final_FHWC in handover.videos:
        words = html.escape(prompt.removeprefix(f"{trigger}. "))
        picture = _img(pictures.moving_pair(estimate_FHWC, final_FHWC), words)
        figures.append(f"<figure>{picture}<figcaption>{words}</figcaption></figure>")
    about = f'<p class="faint">{html.escape(handover.words)}</p>'
    return f'<h2>The hand-over</h2>{about}<div class="small">{"".join(figures)}</div>'


def _near(pair: Pair, trigger: str) -> str:
    made = pair.lora_FHWC[len(pair.lora_FHWC) // 2]
    both = pictures.beside([pictures.enlarge(made, 2), pictures.enlarge(pair.near.picture, 2)])
    words = f"{html.escape(pair.near.item)}, {pair.near.distance:.3f} away"
    return f"<figure>{_img(pictures.still(np.asarray(both), 1), words)}<figcaption>{words}</figcaption></figure>"


def _film(name: str, shots: Sequence[Shown]) -> str:
    kept = sum(not shot.left_out for shot in shots)
    head = f"<h3>{html.escape(name)}: {len(shots)} shots, {kept} picked</h3>"
    return f'{head}<div class="sheet">{"".join(map(_figure, shots))}</div>'


def _figure(shown: Shown) -> str:
    out = f' class="out" title="{html.escape(shown.left_out)}"' if shown.left_out else ""
    words = html.escape(shown.left_out or shown.words)
    return f"<figure{out}>{_img(shown.picture, words)}<figcaption>{words}</figcaption></figure>"


def _chart(name: str, report: Report) -> str:
    head = f"<h3>{html.escape(name)}</h3>" if len(report.losses) > 1 else ""
    return f"{head}{loss_chart(report.losses[name], report.validation.get(name, {}))}"


def _img(data: bytes, words: str) -> str:
    kind = "webp" if data[8:12] == b"WEBP" else "jpeg"
    return f'<img src="data:image/{kind};base64,{base64.b64encode(data).decode()}" alt="{words}" loading="lazy">'
