"""The durable log. See docs/queue-format.md; spool.py is its interface."""
