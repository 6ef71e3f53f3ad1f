"""Everything that starts, follows or ends a process."""
