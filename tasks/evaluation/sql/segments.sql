-- Every sample with its prediction, if it has one. Parameters: the Parquet files $samples and $predictions.
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
    -- A weak label, laid from a whole video onto its segments, is nobody's word about a segment.
    CASE WHEN sample.label_source = 'video' THEN NULL ELSE sample.label END AS label,
    sample.video_label,
    sample.consent_publications,
    sample.consent_challenges,
    prediction.p_ah
FROM read_parquet($samples) AS sample
LEFT JOIN read_parquet($predictions) AS prediction USING (segment_id)
