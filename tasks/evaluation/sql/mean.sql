-- Every segment counts alike. The sum's order is fixed, so that equal inputs give equal bits.
SELECT video_id, avg(p_ah ORDER BY p_ah) AS p_ah
FROM segments
GROUP BY video_id
