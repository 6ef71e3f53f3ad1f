-- The fields of EvaluatedSegment.
SELECT
    segment_id AS row_id,
    video_id,
    participant_id,
    split,
    question,
    end_ms - start_ms AS duration_ms,
    label,
    start_ms,
    end_ms,
    p_ah
FROM segments
ORDER BY video_id, "index"
