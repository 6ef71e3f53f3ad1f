"""Speech recognition with Whisper: audio, model, words with times, and words by segment."""
