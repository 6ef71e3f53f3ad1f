"""The command line: `cli` declares it, and each command's module is imported only when it runs."""
