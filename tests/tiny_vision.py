"""Tiny random models that see and write, of the families people caption with, in folders as `save_pretrained` writes them.

What they answer is gibberish; the way there is that of the large ones: processor, chat template, pictures, words.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 4096, "tie_word_embeddings": False,
}  # fmt: skip
ROPE = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
SEES = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<image>"]
_PARTS = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_CHAT = _PARTS.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
LLAVA_CHAT = _PARTS.replace("IMAGE", "<image>")
PIXELS = {"min_pixels": 28 * 28, "max_pixels": 112 * 112}


def tokenizer(image: str) -> PreTrainedTokenizerFast:
    """One token for each byte, and those that mark turns and pictures."""
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({char: n for n, char in enumerate(bytes_)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(name, special=True) for name in SEES])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|im_end|>",
        extra_special_tokens={"image_token": image, "video_token": "<|video_pad|>"},
    )  # fmt: skip


def write_vision_model(folder: Path, kind: str) -> Path:
    """`kind`: qwen2, qwen2.5, qwen3 or llava."""
    torch.manual_seed(1)
    words = tokenizer("<image>" if kind == "llava" else "<|image_pad|>")
    ids = {name: words.convert_tokens_to_ids(name) for name in SEES}
    model, processor = (_llava if kind == "llava" else _qwen)(kind, words, ids)
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.exponential_decay_length_penalty = (8, 2.0)  # chance alone would hardly come to an end
    letters = {*words.convert_tokens_to_ids(list("abcdefghijklmnopqrstuvwxyz")), ids["<|im_end|>"]}
    model.generation_config.suppress_tokens = [n for n in range(len(words)) if n not in letters]  # so that it is text
    model.generation_config.min_new_tokens = 4
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _qwen(kind: str, words: Any, ids: dict[str, int]) -> tuple[Any, Any]:
    text = TEXT | {"vocab_size": len(words), "rope_parameters": ROPE, "eos_token_id": ids["<|im_end|>"]}
    marks = {
        "image_token_id": ids["<|image_pad|>"], "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"], "vision_end_token_id": ids["<|vision_end|>"],
    }  # fmt: skip
    if kind == "qwen2":
        sight = {"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14}
        model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=sight, **marks))
        return model, _Parts(Qwen2VLImageProcessorPil(**PIXELS), words)
    sight = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 32,
        "patch_size": 14,
    }
    if kind == "qwen2.5":
        model = Qwen2_5_VLForConditionalGeneration(
            Qwen2_5_VLConfig(text_config=text, vision_config=sight | {"fullatt_block_indexes": [0]}, **marks)
        )
        return model, _Parts(Qwen2VLImageProcessorPil(**PIXELS), words)
    text |= {"head_dim": 8}
    sight |= {"patch_size": 16, "deepstack_visual_indexes": [0], "num_position_embeddings": 64}
    model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=sight, **marks))
    return model, _Parts(Qwen2VLImageProcessorPil(patch_size=16, **PIXELS), words)


@dataclass
class _Parts:
    """The files of a Qwen-VL processor but for its video, which would need torchvision."""

    pictures: Any
    words: Any

    def save_pretrained(self, folder: Path) -> None:
        self.pictures.save_pretrained(folder)
        self.words.chat_template = QWEN_CHAT
        self.words.save_pretrained(folder)


def _llava(kind: str, words: Any, ids: dict[str, int]) -> tuple[Any, Any]:
    sight = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28,
        "patch_size": 14, "model_type": "clip_vision_model",
    }  # fmt: skip
    text = TEXT | {"vocab_size": len(words), "model_type": "llama", "eos_token_id": ids["<|im_end|>"]}
    config = LlavaConfig(
        text_config=text, vision_config=sight, image_token_index=ids["<image>"], vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )  # fmt: skip
    pictures = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor = LlavaProcessor(
        pictures, words, patch_size=14, vision_feature_select_strategy="default", chat_template=LLAVA_CHAT,
        image_token="<image>", num_additional_image_tokens=1,
    )  # fmt: skip
    return LlavaForConditionalGeneration(config), processor
