"""Workflows for ComfyUI: every link leads to a node that gives what is asked, and the recipe stands in them."""

from typing import Any

import pytest

from sakuga.core.family import MEMBERS, Member, member
from sakuga.core.made import Lora, Made
from sakuga.interop.comfy import workflow

# of the stock nodes: what they give, and what each of their linked inputs takes
GIVES = {
    "CLIPLoader": ["CLIP"], "CLIPTextEncode": ["CONDITIONING"], "VAELoader": ["VAE"], "UNETLoader": ["MODEL"],
    "LoraLoaderModelOnly": ["MODEL"], "ModelSamplingSD3": ["MODEL"], "EmptyHunyuanLatentVideo": ["LATENT"],
    "KSampler": ["LATENT"], "KSamplerAdvanced": ["LATENT"], "VAEDecode": ["IMAGE"], "CreateVideo": ["VIDEO"],
    "SaveVideo": [], "LoadImage": ["IMAGE", "MASK"], "CLIPVisionLoader": ["CLIP_VISION"],
    "CLIPVisionEncode": ["CLIP_VISION_OUTPUT"], "WanImageToVideo": ["CONDITIONING", "CONDITIONING", "LATENT"],
    "Wan22ImageToVideoLatent": ["LATENT"],
}  # fmt: skip
TAKES = {
    "clip": "CLIP", "vae": "VAE", "model": "MODEL", "positive": "CONDITIONING", "negative": "CONDITIONING",
    "latent_image": "LATENT", "samples": "LATENT", "images": "IMAGE", "video": "VIDEO", "start_image": "IMAGE",
    "image": "IMAGE", "clip_vision": "CLIP_VISION", "clip_vision_output": "CLIP_VISION_OUTPUT",
}  # fmt: skip


def made(of: Member, **values: Any) -> Made:
    told: dict[str, Any] = {
        "version": "1", "model": of.name, "prompt": "a girl", "negative": "blurred", "seed": 7, "width": 832, "height": 480,
        "frames": 81, "steps": 6, "shift": 5.0, "guidance": {e.name: e.guidance for e in of.experts}, "sampler": "unipc",
        "experts": ([of.experts[0].name] * 3 + [of.experts[-1].name] * 3),
    }  # fmt: skip
    return Made.model_validate(told | values)


def of(nodes: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [node["inputs"] for node in nodes.values() if node["class_type"] == kind]


@pytest.mark.parametrize("each", MEMBERS, ids=lambda each: each.name)
@pytest.mark.parametrize("image", [None, "/home/me/first.png"])
def test_every_link_leads_to_what_is_asked(each: Member, image: str | None) -> None:
    nodes = workflow(made(each, image=image if each.task != "t2v" else None))
    used = set()
    for node in nodes.values():
        for name, value in node["inputs"].items():
            if isinstance(value, list):
                source, output = value
                assert GIVES[nodes[source]["class_type"]][output] == TAKES[name], (node["class_type"], name)
                used.add(source)
    assert used == nodes.keys() - {number for number, node in nodes.items() if node["class_type"] == "SaveVideo"}


def test_two_experts_hand_over_at_the_right_step() -> None:
    two = member("wan2.2-t2v-a14b")
    worn = [Lora(expert="high", file="/x/style-high.safetensors", sha256="a", strength=0.8)]
    nodes = workflow(made(two, experts=["high"] * 2 + ["low"] * 4, loras=worn))
    high, low = of(nodes, "KSamplerAdvanced")
    assert (high["start_at_step"], high["end_at_step"], high["add_noise"]) == (0, 2, "enable")
    assert (low["start_at_step"], low["add_noise"], low["return_with_leftover_noise"]) == (2, "disable", "disable")
    assert (high["cfg"], low["cfg"], high["steps"], high["noise_seed"]) == (4.0, 3.0, 6, 7)
    assert high["return_with_leftover_noise"] == "enable" and low["end_at_step"] > 6
    (lora,) = of(nodes, "LoraLoaderModelOnly")
    assert (lora["lora_name"], lora["strength_model"]) == ("style-high.safetensors", 0.8)
    assert [node["unet_name"] for node in of(nodes, "UNETLoader")] == [
        "wan2.2_t2v_high_noise_14B_fp16.safetensors", "wan2.2_t2v_low_noise_14B_fp16.safetensors",
    ]  # fmt: skip
    assert [node["shift"] for node in of(nodes, "ModelSamplingSD3")] == [5.0, 5.0]


def test_the_recipe_stands_in_it() -> None:
    nodes = workflow(made(member("wan2.1-t2v-14b"), sampler="dpm++"), {"transformer": "mine.safetensors"})
    (sampler,) = of(nodes, "KSampler")
    assert (sampler["seed"], sampler["sampler_name"], sampler["scheduler"]) == (7, "dpmpp_2m", "simple")
    assert [node["text"] for node in of(nodes, "CLIPTextEncode")] == ["a girl", "blurred"]
    assert of(nodes, "UNETLoader")[0]["unet_name"] == "mine.safetensors"
    assert of(nodes, "CreateVideo")[0]["fps"] == 16.0
    (empty,) = of(nodes, "EmptyHunyuanLatentVideo")
    assert (empty["width"], empty["height"], empty["length"]) == (832, 480, 81)
    assert of(workflow(made(member("wan2.2-ti2v-5b"))), "CreateVideo")[0]["fps"] == 24.0
