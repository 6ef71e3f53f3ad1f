"""Settings of training, split into what decides the weights and what changes only speed."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Method = Literal["lora", "full"]
Experts = Literal["auto", "grouped_mm", "batched_mm", "eager"]
Sharding = Literal["none", "fsdp", "deepspeed"]
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
    """What decides the weights that training ends with, given a base model and samples."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    trainer: Literal["waver", "ms-swift"] = "waver"
    """Who trains: Waver, or ms-swift, a program of its own (`resources.finetune.swift_command`)."""
    method: Method = "lora"
    """Train low-rank adapters beside frozen weights (lora), or the weights themselves (full)."""
    parts: tuple[Part, ...] | None = None
    """Parts of the model to train; by default attention and experts under LoRA, and the whole
    language model under full training. Vision, audio and projector stay frozen unless named."""
    rank: int = Field(default=8, ge=1, le=1024)
    """LoRA: rank of the adapters."""
    alpha: float = Field(default=16.0, gt=0)
    """LoRA: adapters are scaled by alpha / rank."""
    learning_rate: float = Field(default=1e-5, gt=0)
    """Learning rate after warm-up."""
    schedule: Literal["constant", "cosine", "linear"] = "linear"
    """How the learning rate falls after warm-up."""
    min_learning_rate_fraction: float = Field(default=0.05, ge=0, le=1)
    """The schedule falls to this share of the learning rate."""
    warmup_steps: int = Field(default=10, ge=0)
    """Steps over which the learning rate rises linearly from 0."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW: decoupled weight decay."""
    adam_betas: tuple[_Decay, _Decay] = (0.9, 0.98)
    """AdamW: decay of the first and second moment."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to at most this norm."""
    batch_size: int = Field(default=32, ge=1)
    """Samples behind one step, however many are held in memory at once."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the training samples; not used where `steps` is given."""
    steps: int | None = Field(default=None, ge=1)
    """Number of steps; overrides `epochs`."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Number type of products and of frozen and saved weights; trained weights are float32."""
    quantize: Literal["none", "4bit"] = "none"
    """LoRA on a GPU: keep frozen linear layers of the language model in 4 bits (bitsandbytes NF4).
    Fused experts, which are most of these models, stay in 16."""
    seed: int = Field(default=0, ge=0)
    """Seed of the adapters' first weights and of the samples' order."""
    validation: bool = True
    """Measure on the validation samples and keep the best checkpoint; otherwise keep the last."""
    eval_steps: int = Field(default=20, ge=1)
    """Measure every so many steps, and at the last one."""
    metric: Metric = "macro_f1"
    """What the best checkpoint is best in; of equals, the one with the lower loss."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many measurements in a row without a better one."""

    @model_validator(mode="after")
    def _parts_can_be_trained(self) -> "TrainingSettings":
        if self.parts is not None and not self.parts:
            raise ValueError(f"parts is empty: name at least one of {', '.join(get_args(Part))}")
        foreign = [part for part in self.trained_parts if part in _WITHOUT_LORA]
        if self.method == "lora" and foreign:
            raise ValueError(f"LoRA cannot train {', '.join(foreign)}: use method full")
        return self

    @model_validator(mode="after")
    def _chooses_by_what_is_measured(self) -> "TrainingSettings":
        if self.trainer == "ms-swift" and self.validation and self.metric != "loss":
            raise ValueError(
                f"trainer = ms-swift measures nothing but the loss, and metric is {self.metric}: "
                "set metric = loss, or validation = false"
            )
        return self

    @model_validator(mode="after")
    def _quantizes_what_is_frozen(self) -> "TrainingSettings":
        if self.quantize != "none" and (self.method, self.precision) != ("lora", "bfloat16"):
            raise ValueError("quantize = 4bit needs method lora and precision bfloat16")
        return self

    def resolved(self) -> dict[str, Any]:
        """Give every setting as JSON, with the parts that are trained where none are named."""
        return {**self.model_dump(mode="json"), "parts": list(self.trained_parts)}

    @property
    def trained_parts(self) -> tuple[Part, ...]:
        """The parts that are trained, by name or by the method's default."""
        return self.parts or (_LORA_PARTS if self.method == "lora" else _TEXT_PARTS)


class FinetuneResources(BaseModel):
    """How training uses the machine; changes speed and rounding, never what is learnt."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    device: Literal["auto", "cpu"] = "auto"
    """Train on the accelerator if there is one, or on the processor."""
    swift_command: str = Field(default="swift", min_length=1)
    """The program of ms-swift, by its name on PATH or by its path; for `trainer = ms-swift`."""
    num_processes: int | None = Field(default=None, ge=1)
    """Processes that train together, each with its part of every batch; by default one a device."""
    sharding: Sharding = "none"
    """Full training by several processes: hold all of the model in each, or share its trained
    weights, gradients and optimizer state out among them, by torch's FSDP2 (fsdp) or by DeepSpeed's
    ZeRO-3, where that is installed (deepspeed)."""
    num_threads: int | None = Field(default=None, ge=1)
    """Processor threads of each; by default OMP_NUM_THREADS, else its share of the cores."""
    micro_batch_size: int = Field(default=32, ge=1)
    """Samples in memory at once, in each process; a larger batch is summed up from several."""
    gradient_checkpointing: bool = False
    """Keep only what goes into each layer, and compute the layer again for its gradients: slower by
    about a third, and far less memory."""
    experts: Experts = "auto"
    """How experts are multiplied; by default all in one grouped product, where the device can."""
    num_decoders: int | None = Field(default=None, ge=0, le=256)
    """Processes that decode media ahead of the step, for each training process; 0 decodes in a
    thread of its own. By default one a core but one, and none for few samples."""
    cache_mib: int = Field(default=2048, ge=0)
    """Decoded samples are kept in memory up to this size, the others decoded again."""
    checkpoint_seconds: float = Field(default=10.0, ge=0)
    """A kill loses about this much training; more where checkpoints would take over 5% of the time.
    With 0, one is written after every step."""
    keep_checkpoints: int = Field(default=1, ge=1)
    """The last so many checkpoints are kept, beside the best weights, until the model is stored."""
    checkpoint_folder: str | None = None
    """Local folder for checkpoints; by default beside the results of a local store, else in the
    user's cache folder."""
    report_to: tuple[TrackerName, ...] = ()
    """Trackers that are told of each step beside TensorBoard, by transformers' names for them; they
    get figures and settings, and send them where their own configuration says."""
    store_features: bool = True
    """Run frozen towers once over each segment, and keep what they make for all epochs and runs."""
    feature_folder: str | None = None
    """Local folder for that; by default the cache of a local store, else the user's."""
