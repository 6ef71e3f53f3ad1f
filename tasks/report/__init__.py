"""The report of a run: the HTML page with its plots, and the tables for terminal and UI."""
