"""The reader of a BAH release: annotations, splits, transcripts and its annotation cache."""
