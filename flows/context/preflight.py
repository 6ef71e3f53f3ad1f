"""What is checked before the first video is opened, so that no hour is lost to a typing error."""

import importlib.util
import shutil
from collections.abc import Sequence

from flows.context.run_context import Run
from storage.errors import ConfigError, ToolError
from tasks.adapters.resolve import adapter_in, check_named_model, content_of
from tasks.ensemble import check_apart
from tasks.finetune import FinetuneConfig, FinetuneResources
from tasks.inference.settings import InferConfig
from tasks.model.model_folder import check_model, computed_dtype, find_model
from tasks.ms_swift.program import check_no_code, check_swift
from tasks.prompting.request_length import check_limit
from tasks.speech.model import check_speech_model
from tasks.training.tracking.trackers import check_trackers


def check_before_start(run: Run) -> None:
    """Check programs, libraries and models that the requested stages will need.

    Raises:
        ConfigError: the data has no labels and no model was named, or the stages named do not fit,
            or the model cannot be shared out as asked.
        ToolError: ffmpeg, the inference engine, a tracker, ms-swift or DeepSpeed is not installed.
        ModelError: a named model cannot be used.
    """
    stages = run.stages
    _check_stages(run)
    if "segment" in stages:
        _need_programs("ffmpeg", "ffprobe")
    if "transcribe" in stages:
        check_speech_model(run.settings.transcribe.model)
    if "infer" in stages:
        require_engine()
        run.require_model()
    if run.request.models:
        check_named_models(run.request.models, run.settings.finetune.model)
    elif "finetune" in stages:
        _check_training(run.settings.finetune, run.settings.resources.finetune)
    if "infer" in stages:
        _check_asking(run.request.models or (run.settings.finetune.model,), run.settings.infer)


def check_named_models(names: Sequence[str], base: str) -> None:
    """Check that each of these models can be opened, and that no two are the same.

    Raises:
        ModelError: names the model, or both.
    """
    for name in names:
        check_named_model(name, base)
    if len(names) > 1:
        check_apart([(name, content_of(name)) for name in names])


def _check_asking(names: Sequence[str], config: InferConfig) -> None:
    """Check that models can be asked as the settings say; of an adapter, once it is merged."""
    for path in (find_model(name) for name in names if adapter_in(name) is None):
        check_limit(config.max_tokens, path)
        computed_dtype(path, config.dtype)


def _check_training(config: FinetuneConfig, resources: FinetuneResources) -> None:
    check_trackers(resources.report_to)
    model_path = check_model(config.model)
    if config.trainer == "ms-swift":
        check_no_code(model_path)
        check_swift(resources.swift_command)
    elif resources.sharding != "none":
        from tasks.training.distributed.fsdp import check_sharding

        check_sharding(config, resources)


def _check_stages(run: Run) -> None:
    """Refuse a request that runs nothing, or forces what it does not run."""
    given = "a model is named" if run.request.models else "the data has no labels"
    dropped = set(run.request.stages()) - set(run.stages)
    why = f" (nothing is trained where {given})" if dropped else ""
    if not run.stages:
        raise ConfigError(
            f"No stage is left to run{why}: leave out --only or --from, or name stages in which "
            "both agree."
        )
    idle = [stage for stage in run.request.force if stage not in run.stages]
    if idle:
        raise ConfigError(
            f"--force names {' and '.join(idle)}, which this run leaves out{why}: it runs "
            f"{', '.join(run.stages)}."
        )


def _need_programs(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise ToolError(
            f"{' and '.join(missing)} not found on PATH: install ffmpeg (on Debian or Ubuntu: "
            "apt-get install ffmpeg) and run again."
        )


def require_engine() -> None:
    """Refuse to begin where vLLM is not installed; raises ToolError."""
    if importlib.util.find_spec("vllm") is None:
        raise ToolError(
            "The inference engine vLLM is not installed: install Waver with the extra `cpu` "
            "(pip install '.[cpu]') or, on a machine with a CUDA device, `gpu`."
        )
