"""The keys of musubi-tuner: what each takes, and what becomes of it here. The reference page is made from this too."""

from dataclasses import dataclass
from typing import Literal

from .report import Kind

Takes = Literal["nothing", "one", "many"]


@dataclass(frozen=True)
class Key:
    """What a key takes, and its fate. `kind` None: read by the import, which says itself what became of it."""

    about: str
    kind: Kind | None = None
    takes: Takes = "one"


def fixed(kind: Kind, about: str, *names: str, takes: Takes = "one") -> dict[str, Key]:
    return {name: Key(about, kind, takes) for name in names}


_CONTROL = "control pictures are for models that Sakuga does not train"
_FRAMES = "it belongs to FramePack and one-frame training, not to Wan's LoRAs"
DATASET_COMMON = {
    "resolution": Key("resolution of the section; [960, 544] where it is not given"),
    "caption_extension": Key("captions are .txt beside the files; another suffix is refused"),
    "batch_size": Key("batch of the section, and a factor of train.accumulation"),
    "num_repeats": Key("repeats"),
    "enable_bucket": Key(
        "images: sizes, or buckets = false where it is false (theirs); videos: their cache always uses buckets, so does the section"
    ),
    "bucket_no_upscale": Key(
        "upscale = false for images; their cache of videos ignores it, so videos have upscale = true"
    ),
}
DATASET_OWN = {
    "image_directory": Key("the folder is adopted once, the section takes its stills"),
    "video_directory": Key("the folder is adopted once, the section takes its clips"),
    "image_jsonl_file": Key("its folder is adopted, with all that is in it; captions are read from the list"),
    "video_jsonl_file": Key("its folder is adopted, with all that is in it; captions are read from the list"),
    "target_frames": Key("frames, rounded down to what the model takes as theirs does; [1] where it is not given"),
    "frame_extraction": Key("rule; uniform with frame_sample 1 is head, as there"),
    "frame_stride": Key("stride (rule slide)"),
    "frame_sample": Key("count (rule uniform); windows that coincide are one sample here"),
    "max_frames": Key("max_frames (rule full), 129 where it is not given"),
    "source_fps": Key("read from each file's own time stamps instead; a file of another rate is told"),
} | fixed("ignored there", "Sakuga's caches are keyed by content; theirs are not read", "cache_directory")
DATASET_OWN |= fixed(
    "refused", _CONTROL, "control_directory", "multiple_target", "no_resize_control", "control_resolution"
)
DATASET_OWN |= fixed(
    "ignored there", _FRAMES, "fp_latent_window_size", "fp_1f_clean_indices", "fp_1f_target_index", "fp_1f_no_post"
)

_OURS = "derived by Sakuga"
_LOADER = "how data is read is Sakuga's own, and changes no result"
_LOG = "Sakuga always logs to TensorBoard, in the run's folder"
_LATER = "not there yet in Sakuga"
_MEMORY = (
    "how weights are held follows from the memory there is; train.weights, train.stream and train.vram say otherwise"
)
_HUB = "Sakuga uploads nothing"
_STATES = "every checkpoint has the state that a run goes on from"
_KEPT = "every checkpoint is kept"
_COMPILE = "compiling is derived by Sakuga, and changes no result but rounding"

TRAIN = {
    "task": Key(
        "model; t2v-14B where it is not given. Function control, first-last-frame and other families are errors"
    ),
    "dit": Key("models.transformer, or models.high or models.low of a model of two experts"),
    "dit_high_noise": Key("models.high; both experts are trained, each into a LoRA of its own"),
    "vae": Key("models.vae, where the file is on this machine"),
    "t5": Key("models.text, where the file is on this machine"),
    "clip": Key("models.clip, where the file is on this machine"),
    "dataset_config": Key("the dataset file that was named on the command line is read"),
    "config_file": Key("a TOML file of further arguments is read too"),
    "network_dim": Key("train.rank; 4 where it is not given"),
    "network_alpha": Key("train.alpha; 1 where it is not given, which scales the LoRA by 1/rank"),
    "network_module": Key("networks.lora_wan, and networks.lokr as train.adapter; LoHa and LyCORIS are refused"),
    "network_args": Key(
        "exclude_patterns and include_patterns are train.exclude, loraplus_lr_ratio is train.lora_plus, factor is train.factor; "
        "what else there is is refused, but for verbose",
        takes="many",
    ),
    "network_dropout": Key("train.dropout, which zeroes another place"),
    "network_weights": Key("train.start_from, where the file is on this machine"),
    "learning_rate": Key("train.learning_rate; 2e-6 where it is not given"),
    "optimizer_type": Key("AdamW and its 8-bit kin; any other is refused, and its learning rate with it"),
    "optimizer_args": Key("train.betas, train.eps, train.weight_decay", takes="many"),
    "max_grad_norm": Key("train.max_norm"),
    "lr_scheduler": Key(
        "train.schedule: constant, constant_with_warmup, cosine, linear; warmup_stable_decay is wsd; any other is refused"
    ),
    "lr_decay_steps": Key("train.decay with warmup_stable_decay, as a share of all steps"),
    "lr_warmup_steps": Key("train.warmup, in steps or as a share of all; constant ignores it there"),
    "max_train_steps": Key("train.steps, where there are no epochs; 1600 where neither is given"),
    "max_train_epochs": Key("train.epochs"),
    "gradient_accumulation_steps": Key("train.accumulation, times the batch size"),
    "gradient_checkpointing": Key("train.checkpointing", takes="nothing"),
    "seed": Key("train.seed; theirs draws one where it is not given"),
    "mixed_precision": Key("train.precision; fp16 is refused"),
    "timestep_sampling": Key(
        "train.time and train.shift: sigma and uniform are uniform, sigmoid, shift and logsnr are sigmoid; shifts that depend "
        "on the size are written out as a number; any other is refused"
    ),
    "discrete_flow_shift": Key("train.shift with `shift`; ignored by every other way of sampling"),
    "sigmoid_scale": Key("train.time_scale"),
    "weighting_scheme": Key(
        "train.weighting for sigma_sqrt and cosmap; with sigma logit_normal is sigmoid and mode is refused"
    ),
    "logit_mean": Key("train.time_mean: with logit_normal and sigma its negative, with logsnr half its negative"),
    "logit_std": Key("train.time_scale: as it is with logit_normal and sigma, half of it with logsnr"),
    "min_timestep": Key(
        "train.experts of a model of two experts, and train.min_t; with sigma their range is the wrong way round"
    ),
    "max_timestep": Key("train.max_t, likewise"),
    "preserve_distribution_shape": Key("without it theirs squeezes the distribution into the range", takes="nothing"),
    "timestep_boundary": Key("the boundary is a fact of the model; another one is refused"),
    "save_every_n_epochs": Key("train.save_every, in steps once the samples are counted"),
    "save_every_n_steps": Key("train.save_every"),
    "sample_every_n_epochs": Key("train.preview_every, in steps once the samples are counted"),
    "sample_every_n_steps": Key("train.preview_every"),
    "sample_prompts": Key("the file is copied into the project as train.prompts"),
    "output_name": Key("the name of the project, where --into gives none"),
    "save_precision": Key("publish.precision"),
    "metadata_title": Key("publish.title"),
    "metadata_author": Key("publish.author"),
    "metadata_license": Key("publish.licence"),
    "metadata_description": Key("publish.description"),
}
TRAIN |= fixed("exact", f"attention is {_OURS}; the result is the same but for rounding", "sdpa", "flash_attn", "flash3",
                "xformers", "sage_attn", "split_attn", takes="nothing")  # fmt: skip
TRAIN |= fixed("differs", _MEMORY, "fp8_base", "fp8_scaled",
                "fp8_t5", takes="nothing")  # fmt: skip
TRAIN |= fixed("differs", _MEMORY, "blocks_to_swap", "block_swap_ring_size")
TRAIN |= fixed("differs", _MEMORY, "use_pinned_memory_for_block_swap",
                "block_swap_h2d_only", "img_in_txt_in_offloading", "gradient_checkpointing_cpu_offload", "vae_cache_cpu",
                takes="nothing")  # fmt: skip
TRAIN |= fixed("exact", "one expert is in memory at a time", "offload_inactive_dit", takes="nothing")
TRAIN |= fixed("exact", "Sakuga gives a sample one noise level, and needs no copy of it for each token",
                "force_v2_1_time_embedding", takes="nothing")  # fmt: skip
TRAIN |= fixed("exact", _COMPILE, "compile_backend", "compile_mode", "compile_dynamic", "compile_cache_size_limit",
                "dynamo_backend", "dynamo_mode")  # fmt: skip
TRAIN |= fixed("exact", _COMPILE, "compile", "compile_fullgraph", "dynamo_fullgraph", "dynamo_dynamic", "cuda_allow_tf32",
                "cuda_cudnn_benchmark", takes="nothing")  # fmt: skip
TRAIN |= fixed("exact", _LOADER, "max_data_loader_n_workers", "ddp_timeout")
TRAIN |= fixed("exact", _LOADER, "persistent_data_loader_workers", "ddp_gradient_as_bucket_view", "ddp_static_graph",
                "disable_numpy_memmap", takes="nothing")  # fmt: skip
TRAIN |= fixed("exact", _LOG, "logging_dir", "log_with", "log_prefix", "log_tracker_name", "log_tracker_config",
                "wandb_run_name")  # fmt: skip
TRAIN |= fixed("exact", "a run keeps its settings and every step", "log_config", takes="nothing")
TRAIN |= fixed("exact", "runs, checkpoints and previews are in the project's folder", "output_dir")
TRAIN |= fixed("exact", _STATES, "save_state", "save_state_on_train_end", takes="nothing")
TRAIN |= fixed(
    "differs", _KEPT, "save_last_n_epochs", "save_last_n_epochs_state", "save_last_n_steps", "save_last_n_steps_state"
)
TRAIN |= fixed("exact", "a preview comes before the first step", "sample_at_first", takes="nothing")
TRAIN |= fixed("refused", "a run of another trainer cannot be gone on with", "resume")
TRAIN |= fixed("refused", f"it is {_LATER}", "scale_weight_norms", "num_timestep_buckets")
TRAIN |= fixed(
    "refused", f"it is {_LATER}", "base_weights", "base_weights_multiplier", "lr_scheduler_args", takes="many"
)
TRAIN |= fixed("refused", "the schedules here take no further values", "lr_scheduler_num_cycles",
                "lr_scheduler_power", "lr_scheduler_timescale", "lr_scheduler_min_lr_ratio", "lr_scheduler_type")  # fmt: skip
TRAIN |= fixed("ignored there", "it takes part with weighting_scheme mode alone, which is refused", "mode_scale")
TRAIN |= fixed("ignored there", "Wan's training does not use it", "guidance_scale", "dit_dtype", "dit_in_channels",
                "text_encoder1", "text_encoder2", "text_encoder_dtype", "vae_tiling", "vae_chunk_size",
                "vae_spatial_tile_sample_min_size", "vae_dtype", "show_timesteps")  # fmt: skip
TRAIN |= fixed("ignored there", "Wan's training does not use it", "fp8_llm", takes="nothing")
TRAIN |= fixed("ignored there", "it ends with an error there, since its value is taken for a path", "dim_from_weights",
                takes="nothing")  # fmt: skip
TRAIN |= fixed("refused", "training on single frames out of order is for other models", "one_frame", takes="nothing")
TRAIN |= fixed("differs", "Sakuga's LoRA files always have their metadata", "no_metadata", takes="nothing")
TRAIN |= fixed("differs", "the published file has a title, an author, a licence and a description", "training_comment",
                "metadata_tags", "metadata_reso", "metadata_arch")  # fmt: skip
TRAIN |= fixed("ignored there", "an account's key is neither kept nor shown", "wandb_api_key", "huggingface_token")
TRAIN |= fixed("refused", _HUB, "huggingface_repo_id", "huggingface_repo_type", "huggingface_path_in_repo",
                "huggingface_repo_visibility")  # fmt: skip
TRAIN |= fixed("refused", _HUB, "save_state_to_huggingface", "resume_from_huggingface", "async_upload", takes="nothing")
# Of two trainings, one for each expert: what must differ, and what does so without harm.
OF_AN_EXPERT = ("dit", "min_timestep", "max_timestep", "preserve_distribution_shape")
NAMES = ("output_name", "output_dir", "logging_dir", "log_prefix", "metadata_title", "network_weights")
SECRETS = {"wandb_api_key", "huggingface_token"}

# Of the two commands that fill their caches; what is not here is of how they work, and changes no result.
_CACHE_WAY = "how caches are filled is Sakuga's own"
CACHE = {name: TRAIN[name] for name in ("dataset_config", "vae", "t5", "clip")}
CACHE |= fixed("exact", _CACHE_WAY, "device", "batch_size", "num_workers", "debug_mode", "console_width", "console_back",
                "console_num_images", "vae_chunk_size", "vae_spatial_tile_sample_min_size", "text_encoder_dtype",
                "text_encoder1", "text_encoder2")  # fmt: skip
CACHE |= fixed("exact", _CACHE_WAY, "skip_existing", "keep_cache", "vae_cache_cpu", "disable_cudnn_backend", "fp8_llm",
                takes="nothing")  # fmt: skip
CACHE |= fixed("exact", "the model tells what its latents need", "i2v", takes="nothing")
CACHE |= fixed("differs", "latents are encoded in full precision on a CPU, as the device allows on a card", "vae_dtype",
                "vae_tiling")  # fmt: skip
CACHE |= {name: TRAIN[name] for name in ("fp8_t5", "one_frame")}
SCRIPTS = {"wan_train_network": TRAIN, "wan_cache_latents": CACHE, "wan_cache_text_encoder_outputs": CACHE}

# Of `accelerate launch`, before the script; --mixed_precision is read.
LAUNCH = "how processes are started is Sakuga's own"

TASKS = {
    "t2v-1.3B": "wan2.1-t2v-1.3b",
    "t2v-14B": "wan2.1-t2v-14b",
    "t2i-14B": "wan2.1-t2v-14b",
    "i2v-14B": "wan2.1-i2v-14b",
    "t2v-A14B": "wan2.2-t2v-a14b",
    "i2v-A14B": "wan2.2-i2v-a14b",
}
OTHER_TASKS = ("flf2v-14B", "t2v-1.3B-FC", "t2v-14B-FC", "i2v-14B-FC")
