"""The video stream: its frame times, the ffmpeg call that cuts it, and what was written."""
