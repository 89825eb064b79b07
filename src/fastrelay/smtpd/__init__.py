"""Network in: the shell around ReceiveSession, and the checks that it asks."""
