"""The audio stream: its packets, its samples on the clock of the video, and WAV files."""
