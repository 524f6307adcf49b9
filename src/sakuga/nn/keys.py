"""The names of the transformer's weights: those of every kind of file, as the official checkpoints have them."""

import re

PREFIXES = ("model.diffusion_model.", "diffusion_model.")  # before the names in ComfyUI's files
_WHOLE = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.image_embedder.norm1": "img_emb.proj.0",
    "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
    "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
    "condition_embedder.image_embedder.norm2": "img_emb.proj.4",
    "proj_out": "head.head",
}
_LAYERS = {
    **{f"attn1.to_{p}": f"self_attn.{p}" for p in "qkv"},
    **{f"attn2.to_{p}": f"cross_attn.{p}" for p in "qkv"},
    "attn1.to_out.0": "self_attn.o",
    "attn1.norm_q": "self_attn.norm_q",
    "attn1.norm_k": "self_attn.norm_k",
    "attn2.to_out.0": "cross_attn.o",
    "attn2.norm_q": "cross_attn.norm_q",
    "attn2.norm_k": "cross_attn.norm_k",
    "attn2.add_k_proj": "cross_attn.k_img",
    "attn2.add_v_proj": "cross_attn.v_img",
    "attn2.norm_added_k": "cross_attn.norm_k_img",
    "norm2": "norm3",  # the one norm of a block that has weights; diffusers counts the norms in another order
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
}
DIFFUSERS = {**_LAYERS, **_WHOLE}  # what diffusers calls a layer (of a block without its number) -> its official name
_TABLE = re.compile(r"(?:(blocks\.\d+)\.)?scale_shift_table")
_LAYER = re.compile(r"(blocks\.\d+)\.(.+)")


def original_key(key: str) -> str:
    """The official name of a weight of a ComfyUI or diffusers file; official names come back as they are."""
    for prefix in PREFIXES:
        key = key.removeprefix(prefix)
    if table := _TABLE.fullmatch(key):
        return f"{table[1]}.modulation" if table[1] else "head.modulation"
    stem, _, leaf = key.rpartition(".")
    if stem in _WHOLE:
        return f"{_WHOLE[stem]}.{leaf}"
    if (layer := _LAYER.fullmatch(stem)) and layer[2] in _LAYERS:
        return f"{layer[1]}.{_LAYERS[layer[2]]}.{leaf}"
    return key
