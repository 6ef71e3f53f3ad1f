-- The fields of EvaluatedVideo.
SELECT
    video_id AS row_id,
    video_id,
    any_value(participant_id) AS participant_id,
    any_value(split) AS split,
    any_value(question) AS question,
    max(end_ms) - min(start_ms) AS duration_ms,
    any_value(video_label) AS label,
    max(num_segments) AS num_segments,
    count(p_ah) AS num_predicted,
    any_value(consent_publications) AS consent_publications,
    any_value(consent_challenges) AS consent_challenges
FROM segments
GROUP BY video_id
ORDER BY video_id
