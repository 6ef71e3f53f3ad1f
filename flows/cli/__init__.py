"""The command `waver`: its options, help, errors and exit statuses."""
