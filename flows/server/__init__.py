"""The local Prefect server and its history."""
