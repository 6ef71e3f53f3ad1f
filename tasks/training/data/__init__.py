"""From samples to micro-batches: decoding, stored features, sampling order, collation."""
