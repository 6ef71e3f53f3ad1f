"""The arms of an ablation: every set of modalities the model can get, and a control.

Every arm is ordinary inference with input settings of its own: the arm with all modalities is the
inference that a run has already done, and every other arm can be resumed.
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

CONTROL = "audio swapped"
LETTERS = {"video": "V", "audio": "A", "transcript": "T"}
STAGE = "ablate"
VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What a model gets in one arm; in the control the audio is another segment's.

    ``name`` consists of the modalities' `LETTERS`: VAT, VA, ...
    """

    name: str
    modalities: tuple[str, ...]
    input_config: InputConfig
    is_control: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSamples:
    """An arm with its samples; ``ids_in_arm`` maps a segment's id to its id in this arm."""

    arm: Arm
    variant: Variant
    samples: tuple[SampleRecord, ...]
    ids_in_arm: dict[SegmentId, SegmentId]


def arms_of(config: InputConfig) -> tuple[Arm, ...]:
    """List every set of the modalities in these settings, all of them first, the control last.

    The transcript counts as one if the prompt quotes it.
    """
    modalities = tuple(name for name in LETTERS if _is_used(config, name))
    subsets = [
        subset
        for size in range(len(modalities), 0, -1)
        for subset in combinations(modalities, size)
    ]
    arms = [_arm(config, modalities, subset) for subset in subsets]
    if "audio" in modalities:
        name = f"{arms[0].name}, {CONTROL}"
        arms.append(replace(arms[0], name=name, is_control=True))
    return tuple(arms)


def _is_used(config: InputConfig, modality: str) -> bool:
    is_used: bool = (
        config.shows_transcript if modality == "transcript" else getattr(config, modality)
    )
    return is_used


def _arm(config: InputConfig, modalities: Sequence[str], subset: tuple[str, ...]) -> Arm:
    switches = {name: name in subset for name in modalities}
    return Arm(
        name="".join(LETTERS[name] for name in subset),
        modalities=subset,
        input_config=config.model_copy(update=switches),
    )


def with_samples(
    arm: Arm,
    samples: Sequence[SampleRecord],
    store: Store,
    config: InferConfig,
    model_fingerprint: str,
) -> ArmSamples:
    """Select the samples that have at least one of an arm's modalities.

    In the control a sample's id contains both segments' ids: erasing a participant finds it by
    either.
    """
    variant = infer.variant_of(store, config, arm.input_config, model_fingerprint)
    if arm.is_control:
        variant = open_variant(
            store,
            STAGE,
            version=VERSION,
            settings={"control": CONTROL},
            upstream=(variant.variant_id,),
        )
        swapped = {host.segment_id: _swapped(host, donor) for host, donor in donors_of(samples)}
        selected = tuple(swapped.values())
        ids_in_arm = {segment_id: sample.segment_id for segment_id, sample in swapped.items()}
    else:
        selected = tuple(sample for sample in samples if _has_any(arm, sample))
        ids_in_arm = {sample.segment_id: sample.segment_id for sample in selected}
    return ArmSamples(arm=arm, variant=variant, samples=selected, ids_in_arm=ids_in_arm)


def _has_any(arm: Arm, sample: SampleRecord) -> bool:
    """Return whether a sample has one of an arm's modalities; an empty transcript counts."""
    present = {"video": sample.video_path, "audio": sample.audio_path, "transcript": True}
    return any(present[name] for name in arm.modalities)


def _swapped(host: SampleRecord, donor: SampleRecord) -> SampleRecord:
    """Replace a segment's audio; it lasts as long as the longer one, which bounds its tokens."""
    longer_ms = max(host.end_ms - host.start_ms, donor.end_ms - donor.start_ms)
    return replace(
        host,
        segment_id=SegmentId(f"{host.segment_id} with the audio of {donor.segment_id}"),
        end_ms=host.start_ms + longer_ms,
        audio_path=donor.audio_path,
        media_digest=digest_of(CONTROL, host.media_digest, donor.media_digest),
        content_digest=digest_of(CONTROL, host.content_digest, donor.content_digest),
    )
