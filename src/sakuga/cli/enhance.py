"""The command that makes prompts of wishes."""

from dataclasses import asdict
from typing import Annotated

from .. import api
from ..core import settings as s
from ..core.errors import SakugaError
from . import show
from .base import HERE, Common, Options, app


@app.command
def enhance(
    wishes: list[str] | None = None, *, settings: Annotated[s.EnhanceSettings | None, Options] = None,
    common: Common = HERE,
) -> None:  # fmt: skip
    """Make a prompt of 80 to 100 words of a wish, by a server you name; `sakuga generate` takes it.

    Args:
        wishes: What should be seen, in a few words
    """
    if not wishes:
        raise SakugaError('give a wish in a few words: `sakuga enhance "a girl runs along the sea wall"`')
    with common.open() as project, show.progress() as progress:
        made = api.enhance(project, wishes, progress=progress, **s.given(settings))
    if common.json:
        show.print_json([asdict(each) | {"words": each.words} for each in made])
    else:
        for each in made:
            show.say(each.prompt)
