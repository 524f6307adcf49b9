"""The keys of diffusion-pipe: what becomes of each here. The reference page is made from this too."""

from .musubi_keys import Key, fixed

_LATER = "not there yet in Sakuga"
_MEMORY = (
    "how weights are held follows from the memory there is; train.weights, train.stream and train.vram say otherwise"
)
_DEAD = "it has no effect there"
_CACHE = "Sakuga's caches are keyed by content; theirs are not read"

TOP = {
    "dataset": Key("the dataset file is read; sections come from it"),
    "epochs": Key("train.epochs"),
    "max_steps": Key("train.steps"),
    "micro_batch_size_per_gpu": Key("train.batch, and a factor of train.accumulation"),
    "image_micro_batch_size_per_gpu": Key("batch of the sections of stills"),
    "gradient_accumulation_steps": Key("train.accumulation, times the micro batch"),
    "gradient_clipping": Key("train.max_norm; 0, which clips nothing, is refused"),
    "warmup_steps": Key("train.warmup"),
    "lr_scheduler": Key("train.schedule: constant, cosine, linear"),
    "huber_delta": Key("train.loss = huber, and train.huber_delta"),
    "smooth_l1_beta": Key("as huber_delta; theirs is divided by it"),
    "activation_checkpointing": Key("train.checkpointing"),
    "uncond_fraction": Key("train.caption_dropout"),
    "save_every_n_epochs": Key("train.save_every, in steps once the samples are counted"),
    "save_every_n_steps": Key("train.save_every"),
    "save_every_n_examples": Key("train.save_every"),
    "eval_every_n_epochs": Key("train.validate_every, in steps once the samples are counted"),
    "eval_every_n_steps": Key("train.validate_every"),
    "eval_every_n_examples": Key("train.validate_every"),
    "eval_datasets": Key("plan.holdout: a share of the items is held out instead"),
    "save_dtype": Key("publish.precision"),
    "video_clip_mode": Key("rule: single_beginning is head, single_middle is middle"),
    "min_t": Key("passed over there outside [model], and refused here: move it into [model]"),
    "max_t": Key("passed over there outside [model], and refused here: move it into [model]"),
}
TOP |= fixed("exact", "runs are in the project's folder", "output_dir")
TOP |= fixed("differs", "every checkpoint has the state that a run goes on from", "checkpoint_every_n_epochs",
              "checkpoint_every_n_minutes")  # fmt: skip
TOP |= fixed(
    "refused",
    f"one model spread over several cards is {_LATER}",
    "pipeline_stages",
    "partition_method",
    "partition_split",
)
TOP |= fixed("refused", "the schedule of a run is that of its settings", "force_constant_lr")
TOP |= fixed("differs", _MEMORY, "blocks_to_swap", "disable_block_swap_for_eval", "reentrant_activation_checkpointing")
TOP |= fixed("exact", "compiling changes no result but rounding", "compile")
TOP |= fixed("exact", _CACHE, "caching_batch_size", "map_num_proc")
TOP |= fixed("exact", "every step is logged", "steps_per_print", "logging_steps", "x_axis_examples")
TOP |= fixed("exact", "a validation comes before the first step", "eval_before_first_step")
TOP |= fixed("differs", "validation takes the batch of the training", "eval_micro_batch_size_per_gpu",
              "eval_image_micro_batch_size_per_gpu", "eval_gradient_accumulation_steps")  # fmt: skip
TOP |= fixed("ignored there", _DEAD, "pseudo_huber_c", "image_eval_micro_batch_size_per_gpu")
MISPLACED = {"min_t", "max_t"}

MODEL = {
    "type": Key("wan; other models are an error"),
    "ckpt_path": Key("model, by the name of the folder, or by --model"),
    "transformer_path": Key("models.transformer, or models.high or models.low, and which expert is trained"),
    "llm_path": Key("models.text"),
    "dtype": Key("train.precision"),
    "timestep_sample_method": Key("train.time: logit_normal is sigmoid, uniform is uniform"),
    "sigmoid_scale": Key("train.time_scale"),
    "shift": Key("train.shift; 1 where it is not given: no shift"),
    "flux_shift": Key("train.shift, the number for the first section"),
    "min_t": Key("train.experts of a model of two experts, and train.min_t where the range is not that of the expert"),
    "max_t": Key("train.max_t, likewise"),
}
MODEL |= fixed("differs", _MEMORY, "transformer_dtype",
                "text_encoder_fp8")  # fmt: skip
MODEL |= fixed("exact", "captions are encoded once", "cache_text_embeddings")
MODEL |= fixed("ignored there", "Wan's training does not use it", "guidance", "vae_path", "clip_path", "clip_dtype")

ADAPTER = {
    "type": Key("lora, or lokr: train.adapter"),
    "decompose_factor": Key("train.factor"),
    "rank": Key("train.rank, and train.alpha: alpha is the rank there"),
    "dropout": Key("train.dropout"),
    "exclude_modules": Key("train.exclude"),
    "init_from_existing": Key("train.start_from, where the file is on this machine"),
}
ADAPTER |= fixed("exact", "a LoRA is trained in full precision", "dtype")
ADAPTER |= fixed("refused", f"it is {_LATER}", "rank_dropout",
                  "fuse_adapters", "merge_adapters")  # fmt: skip
ADAPTER |= fixed("refused", "alpha is an error there too; the scale is 1", "alpha")

MONITORING = fixed("exact", "Sakuga logs to TensorBoard, in the run's folder", "enable_wandb", "wandb_tracker_name",
                    "wandb_run_name")  # fmt: skip
MONITORING |= fixed("ignored there", "an account's key is neither kept nor shown", "wandb_api_key")
OPTIMIZER = fixed("exact", "it spares memory alone", "gradient_release")
SECRETS = {"wandb_api_key"}
TABLES: dict[str, dict[str, Key]] = {
    "model": MODEL, "adapter": ADAPTER, "optimizer": OPTIMIZER, "monitoring": MONITORING,
}  # fmt: skip
OPEN = {"optimizer"}  # its arguments are those of any optimizer: which of them are known is told where they are read
SAVING = {"save_every_n_epochs", "save_every_n_steps", "save_every_n_examples"}

DATASET = {
    "resolutions": Key("a section for each, with its sizes written out"),
    "enable_ar_bucket": Key("sizes; where it is false every picture is a square, as there"),
    "min_ar": Key("the aspects that sizes are made from"),
    "max_ar": Key("as min_ar"),
    "num_ar_buckets": Key("as min_ar"),
    "ar_buckets": Key("the aspects that sizes are made from"),
    "frame_buckets": Key('frames above one, with lengths = "longest"; one frame is for stills alone, as there'),
    "size_buckets": Key("sizes and frames"),
    "num_repeats": Key("repeats; a fraction is rounded"),
    "caption_prefix": Key("trigger; captions are left as they are"),
}
DATASET |= fixed("refused", f"it is {_LATER}", "shuffle_tags", "cache_shuffle_num", "subsample_ratio")
DATASET |= fixed("refused", "an item has one caption", "online_captions")
DATASET |= fixed("ignored there", "it takes part with cache_shuffle_num alone", "cache_shuffle_delimiter")
DATASET |= fixed("exact", "order is drawn anew every epoch", "shuffle_metadata")
DATASET |= fixed("differs", "an item without words stops the training, `sakuga check` names it", "skip_empty_caption")
DIRECTORY = {"path": Key("the folder is adopted once")}
DIRECTORY |= {
    "mask_path": Key("its masks are taken (`sakuga masks`)"),
    "default_mask_file": Key("the mask of the folder's items that have none"),
}
DIRECTORY |= fixed("refused", f"control pictures are {_LATER}", "control_path")

# What a whole configuration has, and what stands where it is missing.
REQUIRED = {
    "dataset": "the sections of a new project; `sakuga adopt` a folder",
    "epochs": "train.epochs as it is in a new project",
    "save_every_n_epochs": "train.save_every as it is",
    "model.ckpt_path": "the model that --model names",
    "adapter.rank": "train.rank as it is in a new project",
    "optimizer.type": "AdamW as it is in a new project",
}
