"""What every flow and command starts from: request, settings, data set, store, resolved models."""
