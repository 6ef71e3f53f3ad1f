-- A video is as probable as its most probable segment.
SELECT video_id, max(p_ah) AS p_ah
FROM segments
GROUP BY video_id
