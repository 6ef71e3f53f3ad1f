"""What `waver predict` returns: verdicts on single videos, as a JSON document and as tables."""
