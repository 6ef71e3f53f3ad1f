"""Running one stage: what it is, how its shards are submitted, and what the UI shows of it."""
