"""The command line: the service commands and the tools that look at the queue."""
