"""One segment as the model's input: prompt, frames, audio and tokens; and its prediction."""
