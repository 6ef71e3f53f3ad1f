"""Checks before the first video is opened, so that a typing error does not cost an hour."""

import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from flows.cluster.address import check_cluster
from flows.context.context import Context, context_of, is_open
from flows.context.models import require_model
from flows.context.partition import partition_of
from flows.context.request import RunRequest
from flows.context.stage_names import StageName
from storage.errors import ConfigError, ToolError
from tasks.adapters.resolve import adapter_in, check_named_model, content_of
from tasks.ensemble import check_distinct
from tasks.finetune import FinetuneConfig, FinetuneResources
from tasks.inference.settings import InferConfig
from tasks.model.model_folder import check_model, computed_dtype, find_model
from tasks.ms_swift.program import check_no_code, check_swift
from tasks.prompting.request_length import check_limit
from tasks.speech.model import check_speech_model
from tasks.training.tracking.trackers import check_trackers


def check_before_start(context: Context) -> None:
    """Check the programs, libraries and models that the requested stages need.

    Raises:
        ConfigError: the data has no labels and no model is named, the named stages or the
            partition do not fit, the Ray cluster does not answer, or the model cannot be sharded
            as configured.
        ToolError: Ray, ffmpeg, the inference engine, a tracker or ms-swift is not installed.
        ModelError: a named model cannot be used.
    """
    stages = context.stages
    _check_stages(context)
    partition_of(context.request)
    if context.settings.resources.runner == "ray":
        check_cluster(context.settings.resources.ray_address)
    if "segment" in stages:
        _require_programs("ffmpeg", "ffprobe")
    if "transcribe" in stages:
        check_speech_model(context.settings.transcribe.model)
    if "infer" in stages:
        require_engine()
        require_model(context)
    if context.request.models:
        check_named_models(context.request.models, context.settings.finetune.model)
    elif "finetune" in stages:
        _check_training(context.settings.finetune, context.settings.resources.finetune)
    if "infer" in stages:
        names = context.request.models or (context.settings.finetune.model,)
        _check_inference(names, context.settings.infer)


@contextmanager
def stage_context(request: RunRequest, stage: StageName) -> Iterator[Context]:
    """Yield the context of a stage's flow: the pipeline's, or its own if it runs alone.

    Raises:
        ConfigError: it runs alone, and the request names stages that this flow does not run.
        WaverError: as `context_of`, and as `check_before_start` if it runs alone.
    """
    if is_open(request):
        with context_of(request) as context:
            yield context
        return
    others = [name for name in request.only if name != stage]
    if others:
        raise ConfigError(
            f"This flow runs the stage {stage} alone, but `only` names {' and '.join(others)}: "
            "leave `only` out, or run the flow of the whole pipeline, as waver/nightly does."
        )
    with context_of(request.model_copy(update={"only": (stage,)})) as context:
        check_before_start(context)
        yield context


def check_named_models(names: Sequence[str], base: str) -> None:
    """Check that each of these models can be opened, and that no two have the same content.

    Raises:
        ModelError: names the model, or both.
    """
    for name in names:
        check_named_model(name, base)
    if len(names) > 1:
        check_distinct([(name, content_of(name)) for name in names])


def _check_inference(names: Sequence[str], config: InferConfig) -> None:
    """Check that whole models support the settings; an adapter is checked once it is merged."""
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


def _check_stages(context: Context) -> None:
    """Raise if a request runs no stage, or forces one that it does not run."""
    reason = "a model is named" if context.request.models else "the data has no labels"
    dropped = set(context.request.stages()) - set(context.stages)
    why = f" (nothing is trained if {reason})" if dropped else ""
    if not context.stages:
        raise ConfigError(
            f"No stage is left to run{why}: leave out --only or --from, or name stages that both "
            "include."
        )
    idle = [stage for stage in context.request.force if stage not in context.stages]
    if idle:
        raise ConfigError(
            f"--force names {' and '.join(idle)}, which this run skips{why}: it runs "
            f"{', '.join(context.stages)}."
        )


def _require_programs(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise ToolError(
            f"{' and '.join(missing)} not found on PATH: install ffmpeg (on Debian or Ubuntu: "
            "apt-get install ffmpeg) and run again."
        )


def require_engine() -> None:
    """Raise ToolError if vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        raise ToolError(
            "The inference engine vLLM is not installed: install Waver with the extra `cpu` "
            "(pip install '.[cpu]') or, on a node with a CUDA device, `gpu`."
        )
