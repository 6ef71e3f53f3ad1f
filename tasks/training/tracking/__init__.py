"""What is known of a training: callbacks, trackers, loss curve, divergence, model card."""
