"""The stages that work with models: what finetune, infer and aggregate would compute."""

from collections import defaultdict
from collections.abc import Mapping

from flows.context.context import Context
from flows.context.models import Model, Models, finetune_variant, named_models, trained_models
from flows.context.results import open_report
from flows.planning.reasons import explain, read_history
from flows.planning.records import Reason, StagePlan
from flows.planning.videos import VideoPlan, stage_plan
from storage.errors import ModelError, ReadOnlyError
from storage.results import ModelRecord
from tasks import finetune
from tasks.ensemble import find_outdated
from tasks.inference.samples import expected_items
from tasks.labels.class_plan import plan_classes
from tasks.stage import Shard

_TRAINED_SPLITS = ("train", "val")


def plan_models(context: Context, videos: VideoPlan) -> list[StagePlan]:
    """Plan finetune, infer and aggregate, from what is known of the samples."""
    plans = []
    trained: Mapping[int, ModelRecord] | None = None
    if context.trains:
        training, trained = _plan_finetune(context, videos)
        plans.append(training)
    models = _models(context, trained)
    plans += (
        _plan_infer(context, videos, models)
        if isinstance(models, Models)
        else [_not_ready(context, "infer", videos, models)]
    )
    plans.append(_plan_aggregate(context, [*videos.stages, *plans]))
    return plans


def _plan_finetune(
    context: Context, videos: VideoPlan
) -> tuple[StagePlan, Mapping[int, ModelRecord] | None]:
    """Return the plan, and the trained models by seed if none of them is missing."""
    config, samples = context.settings.finetune, videos.samples
    try:
        variant = finetune_variant(context)
    except ModelError as error:
        return _not_ready(context, "finetune", videos, str(error)), None
    history, digest_known = read_history(variant), _trains_on(context, videos, "new") == 0
    plan = plan_classes(samples, context.settings.manifest)
    expected = finetune.expected_items(samples, plan, config)
    is_estimate = _trains_on(context, videos, "new", "same") > 0
    if is_estimate and digest_known:  # the same samples again give the same digest
        expected = {item: history.latest.get(item, digest) for item, digest in expected.items()}
    found = context.look(variant, expected)
    missing: dict[str, str | None] = {item: expected[item] for item in found.pending}
    if not digest_known:
        missing = dict.fromkeys(expected)
    result = stage_plan(
        context, variant, history, expected, missing, num_unknown=int(is_estimate)
    )  # fmt: skip
    if result.num_missing:
        return result, None
    return result, dict(zip(config.all_seeds, found.read(ModelRecord), strict=True))


def _trains_on(context: Context, videos: VideoPlan, *fates: str) -> int:
    """Count the videos that training uses and whose samples are not known yet."""
    used = {video.video_id for video in context.videos if video.split in _TRAINED_SPLITS}
    return sum(item in used for item, fate in videos.fates.items() if fate in fates)


def _models(context: Context, trained: Mapping[int, ModelRecord] | None) -> Models | str:
    """Return the models to infer with, or why they are not ready."""
    if context.trains and trained is None:
        return "after finetune has trained the model"
    try:
        if trained is not None:
            return trained_models(context, trained)
        return named_models(context)
    except ReadOnlyError:
        return "after the adapter is merged with its base"
    except ModelError as error:
        return str(error)


def _plan_infer(context: Context, videos: VideoPlan, models: Models) -> list[StagePlan]:
    plans = [_plan_model(context, videos, model) for model in models.members]
    if models.is_ensemble:
        plans.append(_plan_ensemble(context, videos, models, plans))
    return plans


def _plan_model(context: Context, videos: VideoPlan, model: Model) -> StagePlan:
    """Plan one model's predictions; the segments of unknown videos are estimated."""
    history, expected = read_history(model.variant), expected_items(videos.samples)
    of_video: dict[str, list[str]] = defaultdict(list)
    for item in history.latest:
        of_video[item.rpartition("#")[0]].append(item)
    per_video = videos.per_video or (len(history.latest) / len(of_video) if of_video else None)
    new: dict[str, None] = {}
    for video_id, fate in videos.fates.items():
        if fate == "same" and of_video[video_id]:
            expected |= {item: history.latest[item] for item in of_video[video_id]}
        else:
            new |= {f"{video_id}#{index:04d}": None for index in range(round(per_video or 0))}
    found = context.look(model.variant, expected)
    missing: dict[str, str | None] = {item: expected[item] for item in found.pending} | new
    expected |= dict.fromkeys(new, "")
    result = stage_plan(
        context, model.variant, history, expected, missing,
        num_unknown=len(videos.fates),
    )  # fmt: skip
    return _without_numbers(result) if videos.fates and per_video is None else result


def _without_numbers(plan: StagePlan) -> StagePlan:
    """Leave the numbers open: no video is segmented yet, so nobody knows how many it has."""
    reason = Reason(kind="not ready", detail="after segment has cut the videos", count=0)
    return StagePlan(
        stage=plan.stage, variant_id=plan.variant_id, num_expected=None, num_cached=0,
        num_missing=None, is_estimate=True, is_run=plan.is_run, reasons=(reason,),
    )  # fmt: skip


def _plan_ensemble(
    context: Context, videos: VideoPlan, models: Models, members: list[StagePlan]
) -> StagePlan:
    variant, history = models.variant, read_history(models.variant)
    expected = expected_items(videos.samples)
    found = context.look(variant, expected)
    missing: dict[str, str | None] = {item: expected[item] for item in found.pending}
    reasons = explain(variant, history, missing)
    is_estimate = any(plan.num_missing != 0 or plan.is_estimate for plan in members)
    if not is_estimate:
        shard = Shard(name="all", expected=expected)
        outdated = find_outdated(shard, list(models.member_variants.values()), variant)
        if outdated:
            detail = "the models' predictions changed"
            reasons = (*reasons, Reason(kind="changed", detail=detail, count=len(outdated)))
            missing |= outdated
    num_missing = len(expected) if "infer" in context.request.force else len(missing)
    return StagePlan(
        stage="infer", variant_id=variant.variant_id, num_expected=len(expected),
        num_cached=len(expected) - num_missing, num_missing=num_missing, is_estimate=is_estimate,
        is_run="infer" in context.stages, reasons=reasons,
    )  # fmt: skip


def _not_ready(context: Context, stage: str, videos: VideoPlan, why: str) -> StagePlan:
    """Plan a stage whose variant depends on a model that does not exist yet."""
    count: int | None = len(context.settings.finetune.all_seeds)
    if stage == "infer":
        count = len(videos.samples)
        if videos.fates:
            count = (
                count + round(len(videos.fates) * videos.per_video) if videos.per_video else None
            )
    return StagePlan(
        stage=stage, variant_id=None, num_expected=count, num_cached=0, num_missing=count,
        is_estimate=True, is_run=stage in context.stages,
        reasons=(Reason(kind="not ready", detail=why, count=count or 0),),
    )  # fmt: skip


def _plan_aggregate(context: Context, before: list[StagePlan]) -> StagePlan:
    """Plan the report; before it is exact, everything that it pools must be in the store."""
    pending = next((plan for plan in before if plan.num_missing != 0 or plan.is_estimate), None)
    if pending is None:
        report = open_report(context)
        found = context.look(report.variant, report.expected)
        missing: dict[str, str | None] = {item: report.expected[item] for item in found.pending}
        history = read_history(report.variant)
        return stage_plan(context, report.variant, history, report.expected, missing)
    is_run = "aggregate" in context.stages
    reason = Reason(kind="upstream", detail=f"{pending.stage} computes first", count=1)
    return StagePlan(
        stage="aggregate", variant_id=None, num_expected=1, num_cached=0, num_missing=1,
        is_estimate=True, is_run=is_run, reasons=(reason,),
    )  # fmt: skip
