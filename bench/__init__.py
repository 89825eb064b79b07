"""Benchmarks: leaf (compiled against Python), step (a part of the way), whole (the relay beside Postfix)."""
