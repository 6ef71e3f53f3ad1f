-- Probability that at least one segment shows A/H if they are independent: 1 - product of (1 - p).
-- In log space, accurate at both ends: ln(1 - p) = 2 atanh(-p / (2 - p)), and
-- 1 - exp(x) = -2 sinh(x / 2) exp(x / 2). Below -80 the product is 0 in double precision.
WITH log_products AS (
    SELECT
        video_id,
        greatest(sum(CASE WHEN p_ah < 1 THEN 2 * atanh(-p_ah / (2 - p_ah)) ELSE -80 END
                     ORDER BY p_ah), -80) AS log_none
    FROM segments
    WHERE p_ah IS NOT NULL
    GROUP BY video_id
)
SELECT video_id, least(-2 * sinh(log_none / 2) * exp(log_none / 2), 1) AS p_ah
FROM log_products
