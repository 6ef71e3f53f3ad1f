"""Stage outputs of three files: predicted, rejected, and with one segment rejected."""

from storage.records import RejectedRecord
from tasks.prediction.verdicts import StageOutputs
from tests.builders import a_prediction, a_sample, a_video, media_facts

GOOD, BAD, HALF = "/in/good [1].mp4", "/in/bad.mp4", "/in/half.mp4"


OUTPUTS = StageOutputs(
    videos=[a_video(name) for name in (GOOD, BAD, HALF)],
    file_digests={GOOD: "digest of good", BAD: "digest of bad", HALF: "digest of half"},
    facts=[media_facts(GOOD, has_audio=False), media_facts(HALF, warnings=("a damaged part",))],
    samples=[
        a_sample(name, index, num_segments=2, transcript=f"words [{index}]",
                 start_ms=2_000 * index, end_ms=2_000 * (index + 1))
        for name in (GOOD, HALF) for index in (0, 1)
    ],
    predictions=[
        a_prediction(f"{name}#{index:04d}", p_ah, answer_mass=0.75, has_audio=False)
        for name, index, p_ah in ((GOOD, 0, 0.2), (GOOD, 1, 0.6), (HALF, 1, 0.9))
    ],
    rejected=[
        RejectedRecord(item_id=BAD, stage="segment", reason="not a video"),
        RejectedRecord(item_id=f"{HALF}#0000", stage="infer", reason="no frame can be decoded"),
    ],
)  # fmt: skip
