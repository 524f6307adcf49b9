"""The test of captions: does a model predict an item better with its own caption than with those of others?

Losses of one item at one noise level with one noise differ by nothing but the words, so that a few of them tell what hundreds
of training draws hide. The base model is asked, which has seen none of these captions.
"""

from collections.abc import Sequence

import torch

from ...core import captions, models, store
from ...core.dataset import Encoded, encoded_samples, text_file
from ...core.errors import SakugaError
from ...core.family import Expert
from ...core.progress import Progress
from ...core.project import Project
from ...core.settings import TrainSettings
from ...nn import flow
from ...nn.device import pick_device, pick_dtype
from ...nn.encodings import read_encoding
from ...nn.parts import Parts
from ...nn.text import pad_text
from ...nn.transformer import WanTransformer
from .data import Draw, load
from .measure import levels_at

LEVELS = 6  # noise levels of an item, at the middles of equal shares of what training draws
OTHERS = 2  # captions of other items that stand against its own at each level


def test_captions(project: Project, settings: TrainSettings, expert: str | None, progress: Progress) -> str:
    """Test the caption of every item that was not tested as it is now. Returns the expert: by default the model's first,
    that of high noise, where words count most. Samples must be encoded. The caller holds the lock.
    """
    member = project.member
    chosen = member.expert(expert) if expert else member.experts[0]
    firsts = {sample.item: sample for sample in reversed(encoded_samples(project))}
    texts = sorted({sample.text for sample in firsts.values()})
    if len(texts) < 2:
        raise SakugaError(
            "captions are tested against those of other items, and all items have one and the same caption"
        )
    words = {item: caption.text for item, caption in captions.current(project).items()}
    todo = [sample for item, sample in sorted(firsts.items()) if not _tested(project, sample, chosen, words[item])]
    progress.start("test captions", len(todo), "items")
    if todo:
        device = pick_device(settings.device)
        parts = Parts(member, models.of_project(project), device, pick_dtype(settings.precision, device))
        test = _Test(project, settings, chosen, parts.transformer(chosen.name), device, texts)
        for sample in todo:
            test.note(sample, words[sample.item])
            progress.advance(1, sample.item)
        parts.release()
    return chosen.name


def _tested(project: Project, sample: Encoded, expert: Expert, words: str) -> bool:
    query = "SELECT count(*) AS n FROM caption_test WHERE item = ? AND expert = ? AND caption = ? AND latent = ?"
    return bool(project.rows(query, sample.item, expert.name, words, sample.latent)[0]["n"] == LEVELS)


class _Test:
    """The model, and what stands against an item's own caption."""

    def __init__(
        self, project: Project, settings: TrainSettings, expert: Expert, model: WanTransformer, device: torch.device,
        texts: Sequence[str],
    ) -> None:  # fmt: skip
        self.project, self.expert, self.model, self.device, self.texts = project, expert, model, device, texts
        self.levels = levels_at(settings, expert, project.member, LEVELS)

    def note(self, sample: Encoded, words: str) -> None:
        """Test one item, and keep what came of it."""
        made = [(level, t, *self._losses(sample, level, t)) for level, t in enumerate(self.levels)]
        with store.transaction(self.project.db):
            for level, t, own, others in made:
                row = {"item": sample.item, "expert": self.expert.name, "level": level, "t": t, "caption": words}
                row |= {"latent": sample.latent, "own": own, "others": others}
                store.insert(self.project.db, "caption_test", row, replace=True)

    @torch.no_grad()
    def _losses(self, sample: Encoded, level: int, t: float) -> tuple[float, float]:
        """The loss with the item's own caption, and the mean of those with others, one after the other to spare memory."""
        draw = Draw(sample, t, ("caption test", sample.key, level))
        batch = load([draw], self.project.member, self.project.folder, self.device)
        noised = flow.noise_latents(batch.latent, batch.noise, batch.t)
        given = batch.condition.image_BCFHW, batch.condition.clip_BTD
        found = []
        for text in (sample.text, *self._others(sample, level)):
            encoded = read_encoding(self.project.folder / text_file(text), text, "text")["text"].float().to(self.device)
            padded = pad_text([encoded], self.project.member.text.length)
            velocity = self.model(noised, flow.model_time(batch.t), padded, *given)
            wanted = flow.target(batch.latent, batch.noise)
            found.append(float(flow.losses(velocity, wanted, batch.t, mask_B1FHW=batch.mask).mse))
        return found[0], sum(found[1:]) / OTHERS

    def _others(self, sample: Encoded, level: int) -> list[str]:
        """Captions of other items, other ones at each level."""
        own, count = self.texts.index(sample.text), len(self.texts)
        steps = [flow.uniform_for("other caption", sample.key, level, n) for n in range(OTHERS)]
        return [self.texts[(own + 1 + int(u * (count - 1))) % count] for u in steps]
