"""The two ends of a test: `sink`, a server that takes mail, and `source`, a client that makes it. A leaf."""
