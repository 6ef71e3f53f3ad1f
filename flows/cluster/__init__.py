"""A Ray cluster: its address, the connection to it, and tasks on its nodes."""
