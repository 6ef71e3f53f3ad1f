"""The arms of an ablation: every set of what a model may be given, and a control.

An arm is asked like any inference, under settings of its own, so that the arm with everything is
the inference that a run has made already, and any other arm can be gone on with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from storage.fingerprint import digest_of
from storage.records import SampleRecord, SegmentId
from storage.store.store import Store
from storage.store.variant import Variant, open_variant
from tasks import infer
from tasks.ablation.audio_swap import donors_of
from tasks.inference.settings import InferConfig
from tasks.prompting.model_input import InputConfig

CONTROL = "sound of another"
_STAGE, _VERSION = "ablate", 1
_MODALITIES = ("video", "audio", "transcript")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What a model is given in one arm; ``is_control`` says that the sound is another segment's."""

    name: str
    shown: tuple[str, ...]
    input_config: InputConfig
    is_control: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSamples:
    """An arm with the samples to ask about; ``asked_as`` gives a segment's name in the arm."""

    arm: Arm
    variant: Variant
    samples: tuple[SampleRecord, ...]
    asked_as: dict[SegmentId, SegmentId]


def arms_of(config: InputConfig) -> tuple[Arm, ...]:
    """List every set of what these settings show, the whole first, and last the control.

    Words count where the prompt quotes them.
    """
    shown = tuple(name for name in _MODALITIES if _is_shown(config, name))
    subsets = [part for size in range(len(shown), 0, -1) for part in combinations(shown, size)]
    arms = [_arm(config, shown, part) for part in subsets]
    if "audio" in shown:
        name = " + ".join(part if part != "audio" else CONTROL for part in shown)
        arms.append(Arm(name=name, shown=shown, input_config=config, is_control=True))
    return tuple(arms)


def _is_shown(config: InputConfig, name: str) -> bool:
    is_shown: bool = config.shows_words if name == "transcript" else getattr(config, name)
    return is_shown


def _arm(config: InputConfig, shown: Sequence[str], part: tuple[str, ...]) -> Arm:
    switches = {name: name in part for name in shown}
    return Arm(name=" + ".join(part), shown=part, input_config=config.model_copy(update=switches))


def with_samples(
    arm: Arm,
    samples: Sequence[SampleRecord],
    store: Store,
    config: InferConfig,
    model_fingerprint: str,
) -> ArmSamples:
    """Give an arm its samples: those of which it shows anything.

    In the control a sample is named after both segments, so that whoever is forgotten is found in
    it as host and as donor.
    """
    variant = infer.variant_of(store, config, arm.input_config, model_fingerprint)
    if arm.is_control:
        variant = open_variant(
            store,
            _STAGE,
            version=_VERSION,
            settings={"control": CONTROL},
            upstream=(variant.variant_id,),
        )
        swapped = {host.segment_id: _swapped(host, donor) for host, donor in donors_of(samples)}
        asked = tuple(swapped.values())
        names = {segment_id: sample.segment_id for segment_id, sample in swapped.items()}
    else:
        asked = tuple(sample for sample in samples if _shows_any(arm, sample))
        names = {sample.segment_id: sample.segment_id for sample in asked}
    return ArmSamples(arm=arm, variant=variant, samples=asked, asked_as=names)


def _shows_any(arm: Arm, sample: SampleRecord) -> bool:
    """Say whether an arm shows anything of a sample; that nothing was said is shown, too."""
    there = {"video": sample.video_path, "audio": sample.audio_path, "transcript": "transcript"}
    return any(there[name] for name in arm.shown)


def _swapped(host: SampleRecord, donor: SampleRecord) -> SampleRecord:
    """Give a segment the sound of another; no shorter than either, for bounds of its tokens."""
    longer_ms = max(host.end_ms - host.start_ms, donor.end_ms - donor.start_ms)
    return replace(
        host,
        segment_id=SegmentId(f"{host.segment_id} with the sound of {donor.segment_id}"),
        end_ms=host.start_ms + longer_ms,
        audio_path=donor.audio_path,
        media_digest=digest_of(CONTROL, host.media_digest, donor.media_digest),
        content_digest=digest_of(CONTROL, host.content_digest, donor.content_digest),
    )
