"""The report of the shots: how many are taken and why the others are not, what recurs, and contact sheets.

One overview and a page for each film, so that a studio's thirty thousand shots stay quick to look at. Pictures are the
project's thumbnails, named from here; a shot plays while the pointer is on it.
"""

import html
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from ..core.files import write_atomic
from ..core.project import Project
from ..core.settings import ShotSize
from ..stages.repeats import Part, parts
from .page import FOLDER, bar, cards, page, row, table

EXAMPLES = 12  # pictures of a reason, of a group of look-alikes
GROUPS = 8  # of look-alikes, the largest first
Shot = dict[str, Any]

_SHOTS = """
SELECT shot.*, coalesce(pick.kept, 0) AS kept, coalesce(pick.rule, 'undecided') AS rule,
  coalesce(pick.reason, 'undecided') AS reason, shot_group.cluster, shot_group.duplicate_of, shot_group.outlier_rank,
  who.shot_size, who.people, who.nude
FROM shot LEFT JOIN pick ON pick.shot = shot.name LEFT JOIN shot_group ON shot_group.shot = shot.name
  LEFT JOIN subject AS who ON who.shot = shot.name
WHERE film = ? ORDER BY first
"""


def write_shots_report(project: Project) -> Path:
    """Write `report/shots.html` and a page for each film into the project; returns the first one's path."""
    folder = project.folder / FOLDER
    (folder / "films").mkdir(parents=True, exist_ok=True)
    films = project.rows("SELECT name, file, width, height, seconds FROM film ORDER BY name")
    recurring: dict[str, list[Part]] = defaultdict(list)
    for part in parts(project):
        recurring[part.film].append(part)
    overview = _Overview()
    for film in films:
        shots = project.rows(_SHOTS, film["name"])
        overlays = project.rows("SELECT * FROM overlay WHERE film = ? ORDER BY kind, first", film["name"])
        drops = project.rows(
            "SELECT clip_drop.name, clip_drop.reason FROM clip_drop JOIN shot ON shot.name = shot WHERE film = ?",
            film["name"],
        )
        overview.add(film, shots)
        page = _film_page(film, shots, recurring[film["name"]], overlays, drops)
        write_atomic(folder / "films" / f"{film['name']}.html", page)
    target = folder / "shots.html"
    write_atomic(target, overview.write(project.name))
    return target


class _Overview:
    """Gathers, film by film, what the first page tells: numbers, and a few examples of each kind."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.rules: Counter[str] = Counter()
        self.groups: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()
        self.people: Counter[int] = Counter()
        self.nude = 0
        self.examples: dict[str, list[str]] = defaultdict(list)
        self.alike: dict[str, list[str]] = defaultdict(list)
        self.seconds = self.kept_seconds = 0.0

    def add(self, film: Shot, shots: Sequence[Shot]) -> None:
        kept = [shot for shot in shots if shot["kept"]]
        self.seconds += sum(shot["seconds"] for shot in shots)
        self.kept_seconds += sum(shot["seconds"] for shot in kept)
        link = f'<a href="films/{quote(film["name"])}.html">{html.escape(film["file"])}</a>'
        size = f"{film['width']}x{film['height']}"
        self.rows.append(row((link, size, _time(film["seconds"] or 0), f"{len(shots):,}", f"{len(kept):,}")))
        for shot in shots:
            rule, group = _told(shot["rule"]), shot["cluster"]
            self.rules[rule] += 1
            _gather(self.examples[rule], shot)
            if shot["shot_size"] is not None:
                self.sizes[shot["shot_size"]] += 1
                self.people[shot["people"]] += 1
                self.nude += shot["nude"]
            if group:
                self.groups[group] += 1
                _gather(self.alike[group], shot)

    def write(self, title: str) -> str:
        count = self.rules.total()
        numbers = [
            (f"{count:,}", f"shots in {len(self.rows):,} films, {_time(self.seconds)}"),
            (f"{self.rules[_told('passes')] + self.rules[_told('kept')]:,}", f"are taken, {_time(self.kept_seconds)}"),
            (f"{sum(n > 1 for n in self.groups.values()):,}", "groups of shots that look alike"),
        ]
        body = cards(numbers)
        body += "<h2>Why</h2>" + _bars(self.rules, count)
        body += "<h2>Films</h2>" + table(("film", "size", "length", "shots", "taken"), self.rows)
        body += "".join(
            f'<h2 id="{quote(rule)}">{html.escape(rule)} <i>{n:,}</i></h2>{_sheet(self.examples[rule])}'
            for rule, n in self.rules.most_common()
        )
        common = [(group, n) for group, n in self.groups.most_common(GROUPS) if n > 2]
        if common:
            body += "<h2>Shown most</h2><p>Groups of shots that look alike: what there is much of is learnt most.</p>"
            body += "".join(f"<h3>{n:,} shots, {n / count:.0%}</h3>{_sheet(self.alike[group])}" for group, n in common)
        return page(f"{title}: shots", body + self._who())

    def _who(self) -> str:
        """Shots by size and by people, where that was asked for."""
        if not self.sizes:
            return ""
        sizes = [row((name, f"{self.sizes[name]:,}")) for name in get_args(ShotSize) if self.sizes[name]]
        people = [row((str(count), f"{shots:,}")) for count, shots in sorted(self.people.items())]
        body = "<h2>Who is in them</h2>" + table(("shot size", "shots"), sizes) + table(("people", "shots"), people)
        return body + (f"<p>Nudity in {self.nude:,} shots.</p>" if self.nude else "")


def _gather(pictures: list[str], shot: Shot) -> None:
    if len(pictures) < EXAMPLES:
        pictures.append(_figure(shot, "../"))


def _film_page(
    film: Shot, shots: Sequence[Shot], recurring: Sequence[Part], overlays: Sequence[Shot], drops: Sequence[Shot]
) -> str:
    rules = Counter(_told(shot["rule"]) for shot in shots)
    body = '<p><a href="../shots.html">all films</a></p>' + _bars(rules, len(shots), choose=True)
    if recurring:
        rows = [
            row((_time(p.start_seconds), f"{p.seconds:.1f} s", html.escape(p.kind), p.by, _places(p.places)))
            for p in recurring
        ]
        body += "<h2>Stands elsewhere too</h2>" + table(("from", "length", "what", "told by", "where"), rows)
    if overlays:
        rows = [
            row((o["kind"], f"{o['first']} to {o['last']}", f"{o['share']:.0%}", html.escape(o["text"] or "")))
            for o in overlays
        ]
        body += "<h2>Over the picture</h2>" + table(("what", "frames", "share of the time", "words"), rows)
    if drops:
        rows = [row((html.escape(d["name"]), html.escape(d["reason"]))) for d in drops]
        body += "<h2>Clips that did not hold one shot</h2>" + table(("clip", "reason"), rows)
    body += "<h2>Shots</h2>" + _sheet(_figure(shot, "../../") for shot in shots)
    return page(film["file"], body)


def _figure(shot: Shot, up: str) -> str:
    """A shot's picture with its words; its strip is named, and fetched when it is pointed at."""
    picture = up + quote(shot["thumbnail"])
    strip = f' data-strip="{up + quote(shot["strip"])}"' if shot["strip"] else ""
    kept = "" if shot["kept"] else ' class="out"'
    scores = f"{shot['drawings']:.0f} drawings/s, motion {shot['motion']:.3f}, sharpness {shot['sharpness']:.2f}"
    words = f"<b>{html.escape(shot['name'])}</b> {shot['seconds']:.1f} s"
    words += "" if shot["kept"] else f"<br>{html.escape(shot['reason'])}"
    rule = html.escape(_told(shot["rule"]), quote=True)
    image = f'<img src="{picture}"{strip} alt="" loading="lazy">'
    return f'<figure{kept} data-rule="{rule}" title="{scores}">{image}<figcaption>{words}</figcaption></figure>'


def _told(rule: str) -> str:
    return RULES.get(rule, rule)


RULES = {  # what a page calls the rules of a pick
    "passes": "taken by the rule", "kept": "taken by a person", "dropped": "left out by a person",
    "undecided": "not decided yet", "short": "too short", "long": "too long", "blank": "of one colour", "dark": "too dark",
    "bright": "too bright", "recurring": "stands in another film too", "words": "has words burned in",
    "logo": "has a logo", "static": "stands still", "camera": "the camera is too fast", "subject": "too little moves",
    "drawings": "too few drawings", "blurred": "blurred",
    "damaged": "damaged by coding", "outlier": "unlike the rest in style", "duplicate": "shown twice",
    "count": "beyond the count", "unseen": "not looked at for people", "size": "another shot size",
    "people": "too many people", "nude": "has nudity",
}  # fmt: skip


def _bars(counts: Counter[str], total: int, *, choose: bool = False) -> str:
    rows = []
    for rule, count in counts.most_common():
        name = html.escape(rule)
        box = f'<label><input type="checkbox" checked value="{html.escape(rule, quote=True)}">{name}</label>'
        link = box if choose else f'<a href="#{quote(rule)}">{name}</a>'
        share = count / max(total, 1)
        rows.append(row((link, f"{count:,}", f"{share:.0%}", bar(share))))
    return f'<table class="why">{"".join(rows)}</table>'


def _sheet(figures: Iterable[str]) -> str:
    return f'<div class="sheet">{"".join(figures)}</div>'


def _places(places: Sequence[tuple[str, float]]) -> str:
    return html.escape(", ".join(f"{film} at {_time(start)}" for film, start in places))


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
