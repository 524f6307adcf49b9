"""What the pages of reports are made of: the frame of a page, tables, cards. Cells are HTML; `text` makes it of words."""

import html
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from string import Template

FOLDER = "report"  # in the project


def text(words: object) -> str:
    """Words as HTML."""
    return html.escape(str(words))


def page(title: str, body: str) -> str:
    template: Callable[..., str] = Template(files(__package__).joinpath("page.html").read_text("utf-8")).substitute
    return template(title=text(title), body=body)


def table(head: Sequence[str], rows: Iterable[str]) -> str:
    return "<table><tr>" + "".join(f"<th>{cell}</th>" for cell in head) + f"</tr>{''.join(rows)}</table>"


def row(cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def cards(told: Iterable[tuple[str, str]]) -> str:
    """Numbers in large, each with what it counts."""
    return '<div class="cards">' + "".join(f"<div><b>{b}</b>{text(t)}</div>" for b, t in told) + "</div>"


def bar(share: float) -> str:
    """A bar, filled to a share from 0 to 1."""
    return f'<div class="bar"><i style="width:{100 * share:.1f}%"></i></div>'
