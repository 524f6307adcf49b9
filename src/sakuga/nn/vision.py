"""A model that sees and writes, on this machine: any image-text-to-text model of transformers that has a chat template.

Qwen2-VL, Qwen2.5-VL, Qwen3-VL, LLaVA and JoyCaption, InternVL and others go the same way: pictures and a question become a
chat, its template and processor make the tokens, and the words after them are the answer. Opened from a folder as
`save_pretrained` writes it, or by its name at the Hugging Face hub; weights are safetensors, and no code beside them is run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from ..core.errors import Halt, SakugaError
from .device import free_memory, pick_device, pick_dtype

GB = 1e9
HEADROOM = 1.15  # of the weights: pictures, activations and the answer's cache need room too
Frame = tuple[float, np.ndarray]  # time (s), RGB uint8 [H, W, 3]


@dataclass(frozen=True)
class VisionModel:
    """A model with its processor."""

    model: Any
    processor: Any
    name: str

    @classmethod
    def open(cls, source: Path | str, device: str | None = None, precision: str | None = None) -> "VisionModel":
        """From a folder, or by a name at the hub (HF_HUB_OFFLINE is heeded).

        Raises Halt where there is no such model, it does not see pictures, or it does not fit the device.
        """
        from huggingface_hub.errors import StrictDataclassError
        from transformers import AutoModelForImageTextToText

        chosen = pick_device(device)
        dtype = pick_dtype(precision, chosen)
        local = isinstance(source, Path)
        try:
            _check_room(source, dtype, chosen)
            processor = _processor(source, local)
            model = AutoModelForImageTextToText.from_pretrained(
                source, dtype=dtype, local_files_only=local, use_safetensors=True, trust_remote_code=False
            )
            model = model.eval().requires_grad_(False).to(chosen)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise Halt(_too_large(source, dtype, chosen)) from error
        except ImportError as error:
            raise Halt(
                f"{source} needs a package that is not here ({_first_line(error)}); pip install it, or take another model"
            ) from error
        except (OSError, ValueError, KeyError, AttributeError, StrictDataclassError) as error:
            raise Halt(
                f"{source} is no model here that sees pictures and writes ({_first_line(error)}); give caption.model the folder "
                "of one for transformers (config.json, safetensors, its processor's files), or its name at the hub"
            ) from error
        if not _template(processor):
            raise Halt(f"{source} has no chat template; get its chat_template.jinja too, or take an instruct model")
        return cls(model, processor, Path(source).name)

    def ask(
        self, question: str, frames: Sequence[Frame], *, max_tokens: int = 512, temperature: float | None = None,
        seed: int | None = None,
    ) -> str:  # fmt: skip
        """The answer to a question about pictures. The likeliest words, unless `temperature`.

        Raises SakugaError where the answer is longer than `max_tokens`, or the model cannot be shown this.
        """
        try:
            inputs = self._inputs(question, frames).to(self.model.device, self.model.dtype)
            options: dict[str, Any] = {"max_new_tokens": max_tokens, "do_sample": bool(temperature)}
            options |= (
                {"temperature": temperature} if temperature else {"temperature": None, "top_p": None, "top_k": None}
            )
            if seed is not None:
                torch.manual_seed(seed)
            with torch.inference_mode():
                tokens = self.model.generate(**inputs, **options)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise SakugaError(
                f"{self.name} has no room for {len(frames)} pictures of this size in {_dtype(self.model.dtype)} on "
                f"{self.model.device}; lower caption.size or caption.frames"
            ) from error
        new = tokens[0, inputs["input_ids"].shape[1] :]
        if len(new) >= max_tokens and int(new[-1]) not in self._ends():
            raise SakugaError(
                f"{self.name} was cut off after {max_tokens} tokens; raise caption.max_tokens, or ask for less"
            )
        return self.processor.decode(new, skip_special_tokens=True).strip()

    def _inputs(self, question: str, frames: Sequence[Frame]) -> Any:
        shown: list[dict[str, Any]] = [{"type": "image", "image": Image.fromarray(rgb)} for _, rgb in frames]
        chat = [{"role": "user", "content": [*shown, {"type": "text", "text": question}]}]
        try:
            return self.processor.apply_chat_template(
                chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
            )
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise SakugaError(
                f"{self.name} cannot be shown this: {_first_line(error)}; look at size and frames"
            ) from error

    def _ends(self) -> set[int]:
        """The tokens that end an answer."""
        ends = self.model.generation_config.eos_token_id
        return set(ends) if isinstance(ends, list) else {ends}


def _processor(source: Path | str, local: bool) -> Any:
    """The processor of a model; without torchvision, which only a processor of video needs, one for pictures alone."""
    from transformers import AutoProcessor

    if find_spec("torchvision") is not None:
        return AutoProcessor.from_pretrained(source, local_files_only=local, trust_remote_code=False)
    from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    options: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    kind = getattr(transformers, PROCESSOR_MAPPING_NAMES[AutoConfig.from_pretrained(source, **options).model_type])
    if "video_processor" not in kind.get_attributes():
        return AutoProcessor.from_pretrained(source, **options)

    class Pictures(kind):  # type: ignore[misc, valid-type]
        """One that lacks its processor of video, and does not mind."""

        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            return argument and super().check_argument_for_proper_class(argument_name, argument)

    pictures = AutoImageProcessor.from_pretrained(source, backend="pil", **options)
    words = AutoTokenizer.from_pretrained(source, **options)
    return Pictures(pictures, words, None, chat_template=words.chat_template)


def _template(processor: Any) -> bool:
    return bool(getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None))


def _check_room(source: Path | str, dtype: torch.dtype, device: torch.device) -> None:
    """Raises MemoryError where the weights of a folder cannot fit the card, before minutes go by in reading them."""
    if device.type == "cuda" and _weights(source, dtype) * HEADROOM > free_memory(device):
        raise MemoryError


def _weights(source: Path | str, dtype: torch.dtype) -> int:
    """Bytes of the weights in `dtype`; they lie in files of two bytes a number, as nearly all do. 0 where not known."""
    lying = sum(file.stat().st_size for file in source.glob("*.safetensors")) if isinstance(source, Path) else 0
    return lying * dtype.itemsize // 2


def _too_large(source: Path | str, dtype: torch.dtype, device: torch.device) -> str:
    free = f", of which {torch.cuda.mem_get_info(device)[0] / GB:.1f} GB are free" if device.type == "cuda" else ""
    size = f"about {_weights(source, dtype) / GB:.1f} GB " if _weights(source, dtype) else ""
    return (
        f"{source} needs {size}in {_dtype(dtype)} and does not fit {device}{free}; take a smaller one, free memory, or let a "
        "server hold a quantised one"
    )


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__
