-- Every sample with its prediction, if any. Parameters: the Parquet files $samples and $predictions.
CREATE TEMP TABLE segments AS
SELECT
    sample.segment_id,
    sample.video_id,
    sample.participant_id,
    coalesce(sample.split, 'unsplit') AS split,
    sample.question,
    sample."index",
    sample.num_segments,
    sample.start_ms,
    sample.end_ms,
    -- A weak label, copied from the video to all its segments, is no annotation of the segment.
    CASE WHEN sample.label_source = 'video' THEN NULL ELSE sample.label END AS label,
    sample.video_label,
    sample.consent_publications,
    sample.consent_challenges,
    prediction.p_ah
FROM read_parquet($samples) AS sample
LEFT JOIN read_parquet($predictions) AS prediction USING (segment_id)
