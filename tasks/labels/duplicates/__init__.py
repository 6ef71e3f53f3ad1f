"""Videos of a data set that are one recording: found by audio, by motion, and accepted pairs."""
