"""enhance: a wish of a few words becomes a prompt as long and as exact as those that Wan was trained on.

By any OpenAI-compatible server, with the project's trigger and notes on its style. The trigger stands first, to the letter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..core import vocabulary
from ..core.answers import clean
from ..core.errors import Halt
from ..core.progress import Progress, Silent
from ..core.project import Project
from ..core.server import Server, address_of, base_url, options_of, text_part
from ..core.settings import EnhanceSettings

INSTRUCTION = """\
Turn a wish for a video into one prompt in English, of 80 to 100 words, from which a video model makes it.

Keep all that the wish says, with its names, and words in quotes as they are. Add only what fits it: who is there, with hair,
clothes and expression; what they do, how and how fast; the place, the time of day and the light; what else moves. Close with
the shot size, the angle and what the camera does. One paragraph in the present tense, one thing after the other as they would
be seen; no lists, no headings, no quotation marks around it, nothing before or after it.
{begin}{style}
Words for the shot, choose among: {shots}. For the angle: {angles}. For the camera: {camera}. For the light: {light}.

The wish: {wish}
"""


@dataclass(frozen=True)
class Enhanced:
    """A wish, and the prompt that was made of it."""

    wish: str
    prompt: str

    @property
    def words(self) -> int:
        return len(self.prompt.split())


def enhance(
    project: Project, wishes: Sequence[str], settings: EnhanceSettings, progress: Progress | None = None
) -> list[Enhanced]:
    """A prompt for each wish, in their order. Raises SakugaError where an answer is none, Halt where the server is at fault."""
    progress, trigger = progress or Silent(), project.settings.trigger
    server = Server(address_of(settings))
    there = server.models()
    if not settings.model:
        known = f"it has {', '.join(there[:8])}" if there else "it does not tell which it has"
        raise Halt(f"set enhance.model to the name of a model of the server at {base_url(settings.url)}; {known}")
    progress.start("enhance", len(wishes), "prompts")
    made = []
    for wish in wishes:
        answer = server.ask([text_part(question(wish, trigger, settings.style))], options_of(settings))
        made.append(Enhanced(wish, clean(answer, trigger)))
        progress.advance(1, wish)
    return made


def question(wish: str, trigger: str, style: str) -> str:
    """What the server is asked for a wish."""
    begin = (
        f'\nBegin with exactly "{trigger}. ", unaltered: it calls the style, so name no other style.\n'
        if trigger
        else ""
    )
    notes = f"\nWhat belongs to the style, for you to know and not to repeat: {style}\n" if style else ""
    choices = {
        "shots": vocabulary.SHOTS,
        "angles": vocabulary.ANGLES,
        "camera": vocabulary.CAMERA,
        "light": vocabulary.LIGHT,
    }
    listed = {name: ", ".join(words) for name, words in choices.items()}
    return INSTRUCTION.format(begin=begin, style=notes, wish=" ".join(wish.split()), **listed)
