"""Video files in, segments out: probe, plan, cut and verify with ffmpeg (entry: `cut_video`)."""
