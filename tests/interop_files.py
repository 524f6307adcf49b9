"""What the tests of other trainers' files are made of: a well-loved recipe's facts in a file of our own, and small media."""

from collections.abc import Callable
from pathlib import Path

import cv2

from films import number_picture, write_film

DATASET = """
[general]
caption_extension = ".txt"
enable_bucket = true
bucket_no_upscale = true

[[datasets]]
image_directory = "H:/sets/images/768x768"
cache_directory = "H:/sets/images/768x768/cache"
resolution = [768, 768]
batch_size = 1
num_repeats = 1

[[datasets]]
video_directory = "H:/sets/videos/1920x1040"
cache_directory = "H:/sets/videos/1920x1040/cache_1"
resolution = [768, 416]
frame_extraction = "head"
target_frames = [1, 21]

[[datasets]]
video_directory = "H:/sets/videos/1920x1040"
cache_directory = "H:/sets/videos/1920x1040/cache_2"
resolution = [384, 208]
frame_extraction = "uniform"
target_frames = [45]
frame_sample = 2
"""
COMMANDS = r"""
@echo off
rem three commands
python wan_cache_latents.py --dataset_config H:\sets\d.toml --vae G:\models\vae.safetensors

accelerate launch --num_cpu_threads_per_process 1 --mixed_precision bf16 wan_train_network.py ^
--task t2v-14B ^
--dit G:/models/dit.safetensors ^
--sdpa --blocks_to_swap 10 --fp8_base ^
--optimizer_type adamw8bit --learning_rate 5e-5 --gradient_checkpointing ^
--network_module networks.lora_wan --network_dim 32 --network_alpha 32 ^
--timestep_sampling shift --discrete_flow_shift 3.0 ^
--save_every_n_epochs 1 --seed 2025 --output_name my_style ^
--max_train_epochs 50
"""
Write = Callable[..., Path]


def clip(path: Path, frames: int, rate: int = 16, words: str = "a clip") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_film(path, (number_picture(n, (192, 104)) for n in range(frames)), rate)
    path.with_suffix(".txt").write_text(words, encoding="utf-8")


def still(path: Path, number: int, words: str = "a still") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), number_picture(number, (256, 256)))
    path.with_suffix(".txt").write_text(words, encoding="utf-8")
