-- The mean of the $top_k most probable segments, or of all where there are fewer.
SELECT video_id, list_avg(max(p_ah, $top_k)) AS p_ah
FROM segments
GROUP BY video_id
