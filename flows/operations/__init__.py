"""The operator's commands: servers and deployments, and what a store holds, needs and lacks."""
