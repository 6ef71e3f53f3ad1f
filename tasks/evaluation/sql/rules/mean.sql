-- All segments have equal weight. The order of summation is fixed for bitwise reproducibility.
SELECT video_id, avg(p_ah ORDER BY p_ah) AS p_ah
FROM segments
GROUP BY video_id
