"""The page of the coverage of captions: what is left out first, then what always comes together, then what is said."""

from pathlib import Path

from ..core.coverage.counts import Coverage
from ..core.files import write_atomic
from ..core.project import Project
from .page import FOLDER, bar, cards, page, row, table, text

MOST_PHRASES = 120  # of the page; --json has all
MOST_ITEMS = 6  # named in a row


def write_coverage_report(project: Project, told: Coverage) -> Path:
    """Write `report/coverage.html` into the project; returns its path."""
    body = _cards(told) + _unsaid(told) + _bound(told) + _strangers(told) + _camera(told) + _phrases(told)
    target = project.folder / FOLDER / "coverage.html"
    target.parent.mkdir(exist_ok=True)
    write_atomic(target, page(f"{project.name}: what the captions say", body))
    return target


def _cards(told: Coverage) -> str:
    return cards(
        [(f"{told.captions:,}", "captions"), (f"{len(told.phrases):,}", "things and attributes that they name"),
         (f"{told.seconds:,}", "second captions"), (f"{len(told.unsaid):,}", "phrases left out")]
    )  # fmt: skip


def _unsaid(told: Coverage) -> str:
    if not told.seconds:
        return "<h2>Left out</h2><p>Nobody else was asked yet: run <code>sakuga opinion</code>.</p>"
    rows = [
        row((f"<b>{text(one.phrase)}</b>", one_of(one.second, told.seconds), one_of(one.first, told.seconds), _named(one.items)))
        for one in told.unsaid
    ]  # fmt: skip
    why = "<p>What another captioner sees, and the captions do not say, is learnt as part of the style.</p>"
    return f"<h2>Left out <i>{len(rows)}</i></h2>{why}" + table(("phrase", "seen", "said", "left out of"), rows)


def one_of(count: int, whole: int) -> str:
    """A count with its share of a whole as a bar."""
    return f"{count}{bar(count / max(whole, 1))}"


def _bound(told: Coverage) -> str:
    if not told.bound:
        return ""
    rows = [
        row((f"<b>{text(', '.join(b.phrases))}</b>", text(", ".join(b.always)), str(b.captions), _named(b.items)))
        for b in told.bound
    ]
    why = "<p>The model cannot learn these apart: what always comes together is one thing to it.</p>"
    head = ("phrases", "always with", "captions", "of")
    return f"<h2>Never one without the other <i>{len(rows)}</i></h2>{why}" + table(head, rows)


def _strangers(told: Coverage) -> str:
    if not told.strangers:
        return ""
    rows = [row((text(cluster), str(len(items)), _named(items))) for cluster, items in told.strangers.items()]
    why = "<p>These look alike, and no word stands in more than half of their captions.</p>"
    return f"<h2>Look alike, told otherwise <i>{len(rows)}</i></h2>{why}" + table(("like", "items", ""), rows)


def _camera(told: Coverage) -> str:
    parts = []
    for group, counts in told.camera.items():
        whole = sum(counts.values())
        rows = [row((text(name or "none is said"), one_of(n, whole))) for name, n in counts.items()]
        parts.append(f"<h3>{text(group)}</h3>" + table(("", "captions"), rows))
    return "<h2>Camera</h2>" + "".join(parts)


def _phrases(told: Coverage) -> str:
    shown = list(told.phrases.items())[:MOST_PHRASES]
    rows = [row((text(phrase), one_of(n, told.captions))) for phrase, n in shown]
    more = len(told.phrases) - len(shown)
    rest = f"<p>and {more:,} more</p>" if more > 0 else ""
    return "<h2>What is said</h2>" + table(("phrase", "captions"), rows) + rest


def _named(items: tuple[str, ...] | list[str]) -> str:
    more = len(items) - MOST_ITEMS
    return text(", ".join(items[:MOST_ITEMS]) + (f" and {more} more" if more > 0 else ""))
