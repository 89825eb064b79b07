"""The queue manager: which delivery is next, how many at a time, and when to try again."""
