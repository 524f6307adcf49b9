"""The command that finds what captioners get wrong, and mends what can be mended."""

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from .. import api
from ..core.errors import SakugaError
from . import show
from .base import HERE, Common, app

AROUND = 6  # words shown on either side of a change
SHOWN = 12  # findings of a rule that are listed; --json has all
LONGEST = 60  # characters of what was found

Flag = Parameter(negative="")


@app.command
def lint(
    *,
    rule: Annotated[tuple[str, ...], Parameter(help="Only these rules")] = (),
    item: Annotated[tuple[str, ...], Parameter(help="Only these items, by name or pattern")] = (),
    fix: Annotated[bool, Flag, Parameter(help="Show what the fixes make of the captions")] = False,
    yes: Annotated[bool, Flag, Parameter(help="With --fix: write them; they count as yours then")] = False,
    in_place: Annotated[
        bool, Flag, Parameter(help="With --fix: also captions in folders that were adopted, in their own .txt")
    ] = False,
    rules: Annotated[bool, Flag, Parameter(help="List the rules")] = False,
    common: Common = HERE,
) -> None:
    """Say what is wrong with the captions, place by place; --fix shows remedies, --fix --yes writes them."""
    if rules:
        _list_rules(common.json)
        return
    if (yes or in_place) and not fix:
        raise SakugaError("--yes and --in-place say how fixes are to be written; give --fix too")
    with common.open() as project:
        told = (
            api.lint_fix(project, rule, item, preview=not yes, in_place=in_place)
            if fix
            else api.lint(project, rule, item)
        )
    if common.json:
        show.print_json(told)
    elif fix:
        _show_fixes(told, written=yes)
    else:
        _show_findings(told)


def _list_rules(as_json: bool) -> None:
    from ..core.lint.rules import RULES

    if as_json:
        show.print_json([{"rule": rule.name, "severity": rule.severity, "help": rule.help} for rule in RULES])
    else:
        show.table(("rule", "what it finds"), ((rule.name, rule.help) for rule in RULES))


def _show_findings(found: Sequence[dict[str, Any]]) -> None:
    """The findings of each rule, the rule with most of them last, so that it stands above the prompt."""
    if not found:
        show.say("nothing was found in the captions")
        return
    counts = Counter(finding["rule"] for finding in found)
    for rule, count in reversed(counts.most_common()):
        of_rule = [finding for finding in found if finding["rule"] == rule]
        fixable = sum(finding["fix"] is not None for finding in of_rule)
        title = f"{rule}: {count}" + (f", {fixable} with a fix" if fixable else "")
        show.table(
            ("item", "found", "why"), ((f["item"], _short(f["found"]), f["why"]) for f in of_rule[:SHOWN]), title
        )
        if count > SHOWN:
            show.say(f"and {count - SHOWN} more (--rule {rule} --json lists all)")
        show.say("")
    show.say(
        f"{len(found)} findings in {len({f['item'] for f in found})} captions; `sakuga lint --fix` shows the remedies"
    )


def _short(words: str) -> str:
    flat = " ".join(words.split())
    return flat if len(flat) <= LONGEST else f"{flat[: LONGEST - 1]}…"


def _show_fixes(fixes: Sequence[dict[str, Any]], *, written: bool) -> None:
    """Every caption with the words that go and those that come."""
    for fix in fixes:
        by = ", yours" if fix["by"] == "person" else ""
        where = "" if fix["place"] else "; it stands in a folder of yours: --in-place writes there"
        show.out.print(Text(f"{fix['item']} ({', '.join(fix['rules'])}{by}){where}", style="bold"))
        show.out.print(difference(fix["before"], fix["after"]))
    able = sum(fix["place"] is not None for fix in fixes)
    if not fixes:
        show.say("there is nothing that a fix is known for")
    elif written:
        show.say(f"{able} captions changed; `sakuga lint` tells what is left")
    else:
        show.say(f"{able} captions would change; `sakuga lint --fix --yes` writes them")


def difference(before: str, after: str) -> Text:
    """`[-what goes-]` and `{+what comes+}`, with some words around; coloured where the terminal can."""
    old, new = re.findall(r"\S+|\n+", before), re.findall(r"\S+|\n+", after)
    shown: list[str | tuple[str, str]] = []
    for part, (kind, a, b, c, d) in enumerate(
        blocks := difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    ):
        if kind == "equal":
            shown.append(_around(old[a:b], first=part == 0, last=part == len(blocks) - 1) + " ")
            continue
        if a < b:
            shown += [(f"[-{_line(old[a:b])}-]", "red"), " "]
        if c < d:
            shown += [(f"{{+{_line(new[c:d])}+}}", "green"), " "]
    return Text.assemble("  ", *shown)


def _around(words: list[str], *, first: bool, last: bool) -> str:
    """Words that stay, the middle of a long stretch left out."""
    head = [] if first else words[:AROUND]
    tail = [] if last else words[max(len(head), len(words) - AROUND) :]
    gap = [] if len(head) + len(tail) == len(words) else ["…"]
    return _line(head + gap + tail)


def _line(words: list[str]) -> str:
    return " ".join("⏎" * word.count("\n") or word for word in words)
