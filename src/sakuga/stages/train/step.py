"""One optimizer step: the loss of its draws, backwards, clipped, applied; and what is done where memory does not reach."""

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...core.errors import SakugaError
from ...core.family import Expert
from ...core.settings import TrainSettings
from ...nn import flow
from ...nn.aside import Aside
from ...nn.ema import Ema
from ...nn.lora import LoraSet, inject
from ...nn.optimizers import make_optimizer, set_rates
from ...nn.parts import Parts
from ...nn.text import pad_text
from ...nn.transformer import WanTransformer
from ...nn.world import ALONE, World
from .data import Batch
from .loader import Loaded, Loader

MORE_STREAMED = 8  # a notch streams one block of so many more
MOMENTS = 2  # numbers that AdamW remembers for each that is trained; others remember fewer, or as many


@dataclass(frozen=True)
class Stepped:
    """What a step gave: the mean squared error of each draw, and the gradient's norm before clipping.

    Where one is not finite, nothing was applied.
    """

    losses: list[float]
    norm: float

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, (*self.losses, self.norm)))


class Learner:
    """An expert with its LoRA and its optimizer."""

    def __init__(
        self, parts: Parts, expert: Expert, settings: TrainSettings, say: Callable[[str], object], world: World = ALONE
    ) -> None:
        self.world = world
        self.parts, self.expert, self.settings, self.say = parts, expert, settings, say
        self.model: WanTransformer = parts.transformer(expert.name)
        checkpointing = settings.checkpointing
        self.model.checkpointing = parts.device.type == "cuda" if checkpointing is None else checkpointing
        self._keep_inputs()
        if parts.told:
            say(f"{expert.name}: {parts.told}")
        self.lora: LoraSet = self._inject()
        self.optimizer = make_optimizer(self.lora, settings)
        self.ema = Ema(self.lora.parameters(), settings.ema) if settings.ema else None
        self.model.train()

    def _keep_inputs(self) -> None:
        """Where the parts plan it, what blocks that run again need waits in host memory."""
        held = self.parts.held
        if held is not None and held.aside:
            self.model.checkpointing, self.model.aside = True, Aside(self.parts.device)

    def _inject(self) -> LoraSet:
        s = self.settings
        return inject(
            self.model, s.rank, s.alpha, s.seed, s.include, exclude=s.exclude, ranks=s.ranks, rslora=s.rslora,
            dropout=s.dropout, kind=s.kind,
        )  # fmt: skip

    def step(self, loaded: Loaded, share: float, loader: Loader) -> Stepped:
        """One step at that share of the full rate. Out of memory it goes a notch down and does the step again."""
        set_rates(self.optimizer, share)
        return self._applied(self._until_it_fits(loaded, loader))

    def _until_it_fits(self, loaded: Loaded, loader: Loader) -> Tensor:
        """The gradients of a step, with however little memory. What is applied was computed whole."""
        while True:
            try:
                return self._gradients(loaded)
            except torch.OutOfMemoryError as error:
                why = error.with_traceback(None)  # its frames hold tensors still
                why.__context__ = None  # and so do those of what was being handled when it came
            self.optimizer.zero_grad(set_to_none=True)
            if not self._notch_down(loaded, loader):
                raise SakugaError(
                    f"step {loaded.number} of {self.expert.name} does not fit into memory, and nothing is left to save it "
                    "with; train on smaller or shorter samples, or with a lower rank"
                ) from why
            loaded = loader.load(loaded.draws, loaded.number)

    def _applied(self, losses: Tensor) -> Stepped:
        """The optimizer's part of a step."""
        self.world.add_up([losses, *self._grown()])
        parameters = self.lora.parameters()
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        each = torch.cat((losses, norm[None])).tolist()  # the one wait for the device
        stepped = Stepped(each[:-1], each[-1])
        if stepped.finite:
            if stepped.norm > self.settings.max_norm:
                torch.nn.utils.clip_grads_with_norm_(parameters, self.settings.max_norm, norm)
            self.optimizer.step()
            if self.ema is not None:
                self.ema.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.hand_out()
        return stepped

    def help(self, loaded: Loaded, loader: Loader) -> None:
        """A hand's part of a step: gradients for the leader, and what it made of them."""
        losses = self._until_it_fits(loaded, loader)
        self.world.add_up([losses, *self._grown()])
        self.optimizer.zero_grad(set_to_none=True)
        self.hand_out()

    def hand_out(self) -> None:
        """Every process has the leader's adapters."""
        self.world.hand_out(self.lora.parameters())

    def _grown(self) -> list[Tensor]:
        """The gradients of all parameters; of what this process had no part in, zeros. Alone there is nothing to add."""
        if self.world.size == 1:
            return []
        for parameter in self.lora.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [parameter.grad for parameter in self.lora.parameters() if parameter.grad is not None]

    def _gradients(self, loaded: Loaded) -> Tensor:
        """The squared error of each draw; the gradient of their weighted mean loss is in the parameters."""
        errors = torch.zeros(len(loaded.draws), device=self.parts.device)
        for places, batch in loaded.batches:
            if self.settings.dropout:
                key = ("dropout", self.settings.seed, self.expert.name, loaded.number, places[0])
                torch.manual_seed(flow.key_seed(*key))
            loss_B, error_B = self.losses(batch.to(self.parts.device))
            weights_B = loss_B.new_tensor([loaded.draws[place].sample.weight for place in places])
            ((loss_B * weights_B).sum() / len(loaded.draws)).backward()
            errors[places] = error_B.detach()
        return errors

    def losses(self, batch: Batch) -> flow.Losses:
        """The flow-matching loss of each sample of a batch, and its mean squared error."""
        noised = flow.noise_latents(batch.latent, batch.noise, batch.t)
        text = pad_text(batch.texts, self.parts.member.text.length)
        given = batch.condition.image_BCFHW, batch.condition.clip_BTD
        velocity = self.model(noised, flow.model_time(batch.t), text, *given)
        s = self.settings
        mask = None if batch.mask is None else s.mask_floor + (1 - s.mask_floor) * batch.mask
        return flow.losses(
            velocity, flow.target(batch.latent, batch.noise), batch.t, kind=s.loss, delta=s.huber_delta,
            weighting=s.weighting, mask_B1FHW=mask,
        )  # fmt: skip

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """To measure and to look: the running mean where there is one, and no dropout."""
        self.model.eval()
        try:
            with self.ema.swapped() if self.ema else nullcontext():
                yield
        finally:
            self.model.train()

    def rehearse(self, loaded: Loaded, loader: Loader) -> None:
        """The largest samples forward and backward before the first step, so that what does not fit is known at once.

        Nothing is applied: the optimizer is not asked, and the gradients are thrown away. Room is held for what it will
        remember from the first step on.
        """
        held = (
            []
            if self.optimizer.state
            else [torch.empty_like(p) for p in self.lora.parameters() for _ in range(MOMENTS)]
        )
        self._until_it_fits(loaded, loader)
        held.clear()
        self.optimizer.zero_grad(set_to_none=True)

    def _notch_down(self, loaded: Loaded, loader: Loader) -> bool:
        """Take less memory from now on, in the way that costs the least time; whether there was one."""
        largest = max(len(places) for places, _ in loaded.batches)
        if largest > 1:
            loader.shrink(largest // 2)
            self.say(f"out of memory: at most {loader.batch} samples are computed at once, not {largest}")
        elif not self.model.checkpointing:
            self.model.checkpointing = True
            self.say("out of memory: blocks are computed again in the backward pass")
        elif not (self._set_inputs_aside() or self._stream_more()):
            return False
        gc.collect()
        if self.parts.device.type == "cuda":
            torch.cuda.empty_cache()
        return True

    def _set_inputs_aside(self) -> bool:
        held, parts = self.parts.held, self.parts
        if held is None or held.aside or not parts.inputs or not parts.host_holds_inputs:
            return False
        parts.held = replace(held, aside=True)
        self._keep_inputs()
        self.say("out of memory: the inputs of blocks wait in host memory for the backward pass")
        return True

    def _stream_more(self) -> bool:
        held, layers = self.parts.held, self.parts.member.transformer.layers
        if held is None or held.streamed >= layers:
            return False
        streamed = min(layers, held.streamed + max(1, layers // MORE_STREAMED))
        self.parts.held = replace(held, streamed=streamed)
        self._reopen()
        self.say(f"out of memory: the weights of {streamed} of {layers} blocks stay in host memory")
        return True

    def _reopen(self) -> None:
        self.lay_aside()
        self.take_up()

    def lay_aside(self) -> None:
        """Lets go of the model, for another that needs its room; the adapters stay, and what the optimizer knows of them."""
        self.lora.remove(self.model)
        self._was = self.model.checkpointing, self.model.training
        del self.model
        self.parts.release()

    def take_up(self) -> None:
        """The model anew, as `parts` holds it now, with the same adapters on."""
        adapters = self.lora
        self.model = self.parts.transformer(self.expert.name)
        self.lora = self._inject()
        for name, layer in self.lora.layers.items():  # the optimizer knows these very parameters
            layer.share(adapters.layers[name])
        self.model.checkpointing, training = self._was
        self._keep_inputs()
        self.model.train(training)

    def close(self) -> None:
        """Take the LoRA off and let go of the model."""
        self.lora.remove(self.model)
        self.parts.release()
