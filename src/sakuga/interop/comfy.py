"""A ComfyUI workflow of what a video was made from, of stock nodes alone, in the form that its API and its window read.

Both experts sample one after the other, split at the step where ours handed over. ComfyUI draws its own noise, so the same
seed gives another video; everything else is the same.
"""

from pathlib import PurePath
from typing import Any

from ..core.family import Member
from ..core.made import Made

Node = dict[str, Any]
Link = list[Any]  # [number of a node, which of its outputs]

SAMPLERS = {"unipc": "uni_pc", "dpm++": "dpmpp_2m", "dpm++sde": "dpmpp_2m_sde", "euler": "euler"}
SCHEDULER = "simple"  # evenly spaced before the shift, as ours
END = 10_000  # a step beyond the last


class _Graph:
    """Nodes by number, each a class and its inputs."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def add(self, kind: str, title: str = "", **inputs: Any) -> str:
        number = str(len(self.nodes) + 1)
        self.nodes[number] = {"class_type": kind, "inputs": inputs, "_meta": {"title": title or kind}}
        return number


def workflow(made: Made, files: dict[str, str] | None = None) -> dict[str, Node]:
    """The nodes of a video's recipe. `files` names model files by role; else the usual ones of ComfyUI are named."""
    member, graph = made.member, _Graph()
    named = {file.role: _usual(file.names) for file in member.files} | (files or {})
    clip = graph.add("CLIPLoader", clip_name=named["text"], type="wan")
    positive = [graph.add("CLIPTextEncode", "Prompt", text=made.prompt, clip=[clip, 0]), 0]
    negative = [graph.add("CLIPTextEncode", "Negative prompt", text=made.negative, clip=[clip, 0]), 0]
    vae = [graph.add("VAELoader", vae_name=named["vae"]), 0]
    latent, positive, negative = _start(graph, made, named, vae, positive, negative)
    for number, expert in enumerate(member.experts):
        model = _model(graph, made, named, expert.name)
        common: dict[str, Any] = {
            "model": model, "positive": positive, "negative": negative, "latent_image": latent, "steps": made.steps,
            "cfg": made.guidance[expert.name], "sampler_name": SAMPLERS[made.sampler], "scheduler": SCHEDULER,
        }  # fmt: skip
        if len(member.experts) == 1:
            latent = [graph.add("KSampler", seed=made.seed, denoise=1.0, **common), 0]
            continue
        first, last = number == 0, number == len(member.experts) - 1
        latent = [
            graph.add(
                "KSamplerAdvanced", f"Sampler, {expert.name} noise", noise_seed=made.seed,
                add_noise="enable" if first else "disable", start_at_step=0 if first else made.handover,
                end_at_step=END if last else made.handover,
                return_with_leftover_noise="disable" if last else "enable", **common,
            ), 0,
        ]  # fmt: skip
    images = graph.add("VAEDecode", samples=latent, vae=vae)
    video = graph.add("CreateVideo", images=[images, 0], fps=float(member.fps))
    graph.add("SaveVideo", video=[video, 0], filename_prefix="sakuga", format="auto", codec="auto")
    return graph.nodes


def _usual(names: tuple[str, ...]) -> str:
    """The name of ComfyUI's own file among those that a file goes by."""
    return next((name for name in names if name.endswith(".safetensors")), names[0])


def _model(graph: _Graph, made: Made, named: dict[str, str], expert: str) -> Link:
    """The transformer of an expert with its LoRAs and its shift."""
    role = expert if expert in named else "transformer"
    model = [graph.add("UNETLoader", f"Model, {expert}", unet_name=named[role], weight_dtype="default"), 0]
    for worn in made.loras:
        if worn.expert == expert:
            name = PurePath(worn.file).name
            model = [
                graph.add("LoraLoaderModelOnly", lora_name=name, strength_model=worn.strength, model=model), 0
            ]  # fmt: skip
    return [graph.add("ModelSamplingSD3", "Shift", shift=made.shift, model=model), 0]


def _start(
    graph: _Graph, made: Made, named: dict[str, str], vae: Link, positive: Link, negative: Link
) -> tuple[Link, Link, Link]:
    """What sampling starts from: empty latents, or those that carry the first picture. (latent, positive, negative)."""
    member = made.member
    size: dict[str, Any] = {"width": made.width, "height": made.height, "length": made.frames, "batch_size": 1}
    image: dict[str, Any] = (
        {"start_image": [graph.add("LoadImage", image=PurePath(made.image).name), 0]} if made.image else {}
    )
    if member.task == "i2v":
        seen: dict[str, Any] = _seen(graph, member, named, image["start_image"]) if image else {}
        node = graph.add("WanImageToVideo", positive=positive, negative=negative, vae=vae, **size, **image, **seen)
        return [node, 2], [node, 0], [node, 1]
    if member.task == "ti2v":
        return [graph.add("Wan22ImageToVideoLatent", vae=vae, **size, **image), 0], positive, negative
    return [graph.add("EmptyHunyuanLatentVideo", **size), 0], positive, negative


def _seen(graph: _Graph, member: Member, named: dict[str, str], picture: Link) -> dict[str, Any]:
    """What CLIP sees in the first picture, where the model asks for it."""
    if not member.transformer.clip_branch:
        return {}
    loader = graph.add("CLIPVisionLoader", clip_name=named["clip"])
    encoded = graph.add("CLIPVisionEncode", clip_vision=[loader, 0], image=picture, crop="none")
    return {"clip_vision_output": [encoded, 0]}
