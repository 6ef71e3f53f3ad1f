"""Training settings: those that determine the weights, and resources that affect only speed."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Method = Literal["lora", "full"]
Experts = Literal["auto", "grouped_mm", "batched_mm", "eager"]
Sharding = Literal["none", "fsdp"]
Metric = Literal["macro_f1", "average_precision", "loss"]
TrackerName = Literal["clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "trackio", "wandb"]
Part = Literal[
    "attention", "experts", "mlp", "router", "embedding", "norms", "head", "projector", "vision",
    "audio",
]  # fmt: skip

_Decay = Annotated[float, Field(ge=0, lt=1)]

_TEXT_PARTS: tuple[Part, ...] = (
    "attention", "experts", "mlp", "router", "embedding", "norms", "head",
)  # fmt: skip
_LORA_PARTS: tuple[Part, ...] = ("attention", "experts")
_WITHOUT_LORA: tuple[Part, ...] = ("embedding", "norms")


class TrainingSettings(BaseModel):
    """Settings that determine the trained weights, given a base model and samples."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    trainer: Literal["waver", "ms-swift"] = "waver"
    """The trainer: Waver, or the external program ms-swift (`resources.finetune.swift_command`)."""
    method: Method = "lora"
    """Train low-rank adapters with frozen weights (lora), or the weights themselves (full)."""
    parts: tuple[Part, ...] | None = None
    """Parts of the model to train; by default attention and experts with LoRA, and the whole
    language model with full fine-tuning. Vision, audio and projector are frozen unless named."""
    rank: int = Field(default=8, ge=1, le=1024)
    """LoRA: rank of the adapters."""
    alpha: float = Field(default=16.0, gt=0)
    """LoRA: adapters are scaled by alpha / rank."""
    learning_rate: float = Field(default=1e-5, gt=0)
    """Learning rate after warm-up."""
    schedule: Literal["constant", "cosine", "linear"] = "linear"
    """Learning rate schedule after warm-up."""
    min_learning_rate_fraction: float = Field(default=0.05, ge=0, le=1)
    """Minimum of the schedule, as a fraction of the learning rate."""
    warmup_steps: int = Field(default=10, ge=0)
    """Steps of linear warm-up from 0."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW: decoupled weight decay."""
    adam_betas: tuple[_Decay, _Decay] = (0.9, 0.98)
    """AdamW: decay rates of the first and second moment."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm."""
    batch_size: int = Field(default=32, ge=1)
    """Samples per optimizer step over all processes and micro-batches."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the training samples; ignored if `steps` is set."""
    steps: int | None = Field(default=None, ge=1)
    """Number of steps; overrides `epochs`."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Dtype of matrix products and of frozen and saved weights; trained weights are float32."""
    quantize: Literal["none", "4bit"] = "none"
    """LoRA on a GPU: quantize frozen linear layers of the language model to 4 bits (bitsandbytes
    NF4). Fused experts, most of the parameters of these models, stay in 16 bits."""
    seed: int = Field(default=0, ge=0)
    """Seed of the adapters' initialization and of the sampling order."""
    validation: bool = True
    """Evaluate on the validation samples and keep the best checkpoint; otherwise keep the last."""
    eval_steps: int = Field(default=20, ge=1)
    """Number of steps between evaluations; the last step is always evaluated."""
    metric: Metric = "macro_f1"
    """Metric that selects the best checkpoint; ties are broken by the lower loss."""
    patience: int | None = Field(default=None, ge=1)
    """Early stopping: stop after this many evaluations in a row without improvement."""

    @model_validator(mode="after")
    def _check_parts(self) -> "TrainingSettings":
        if self.parts is not None and not self.parts:
            raise ValueError(f"parts is empty: name at least one of {', '.join(get_args(Part))}")
        unsupported = [part for part in self.trained_parts if part in _WITHOUT_LORA]
        if self.method == "lora" and unsupported:
            raise ValueError(f"LoRA cannot train {', '.join(unsupported)}: use method full")
        return self

    @model_validator(mode="after")
    def _check_metric(self) -> "TrainingSettings":
        if self.trainer == "ms-swift" and self.validation and self.metric != "loss":
            raise ValueError(
                f"trainer = ms-swift computes no metric but the loss, but metric is {self.metric}: "
                "set metric = loss, or validation = false"
            )
        return self

    @model_validator(mode="after")
    def _check_quantization(self) -> "TrainingSettings":
        if self.quantize != "none" and (self.method, self.precision) != ("lora", "bfloat16"):
            raise ValueError("quantize = 4bit requires method = lora and precision = bfloat16")
        return self

    def resolved(self) -> dict[str, Any]:
        """Return all settings as JSON, with the default parts filled in."""
        return {**self.model_dump(mode="json"), "parts": list(self.trained_parts)}

    @property
    def trained_parts(self) -> tuple[Part, ...]:
        """The parts to train: the named ones, or the method's default."""
        return self.parts or (_LORA_PARTS if self.method == "lora" else _TEXT_PARTS)


class FinetuneResources(BaseModel):
    """Resources of training; they affect speed and rounding, not the result's identity."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    device: Literal["auto", "cpu"] = "auto"
    """Train on an accelerator if one is available, or on the CPU."""
    swift_command: str = Field(default="swift", min_length=1)
    """Name or path of ms-swift's program, for `trainer = ms-swift`."""
    num_processes: int | None = Field(default=None, ge=1)
    """Number of training processes, which split every batch; by default one per GPU."""
    sharding: Sharding = "none"
    """Full fine-tuning with several processes: replicate the model (none), or shard weights,
    gradients and optimizer state with torch's FSDP2 (fsdp)."""
    num_threads: int | None = Field(default=None, ge=1)
    """CPU threads per process; by default OMP_NUM_THREADS, else the cores divided by processes."""
    micro_batch_size: int = Field(default=32, ge=1)
    """Samples per forward pass of a process; larger batches accumulate gradients."""
    gradient_checkpointing: bool = False
    """Recompute each layer's activations in the backward pass: about a third slower, and far less
    memory."""
    experts: Experts = "auto"
    """Expert implementation of transformers; by default grouped_mm, if the device supports it."""
    num_decoders: int | None = Field(default=None, ge=0, le=256)
    """Processes that decode media ahead of the step, per training process; 0 decodes in a thread.
    By default the number of cores minus one, and 0 for few samples."""
    cache_mib: int = Field(default=2048, ge=0)
    """Size of the in-memory cache of decoded samples; others are decoded in every epoch."""
    checkpoint_seconds: float = Field(default=10.0, ge=0)
    """Time between checkpoints, longer if they would take over 5% of the training time. With 0, one
    is written after every step."""
    keep_checkpoints: int = Field(default=1, ge=1)
    """Number of last checkpoints kept besides the best weights until the model is in the store."""
    checkpoint_folder: str | None = None
    """Local folder for checkpoints; by default in a local store, else in the user's cache."""
    report_to: tuple[TrackerName, ...] = ()
    """Experiment trackers besides TensorBoard, by transformers' names; they receive metrics and
    settings, and send them where their own configuration points."""
    store_features: bool = True
    """Run frozen towers once per segment, and store their features for all epochs and runs."""
    feature_folder: str | None = None
    """Local folder for features; by default in the cache of a local store, else the user's."""
