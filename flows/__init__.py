"""Prefect flows, the command line and the local server: what starts and orders the stages."""
