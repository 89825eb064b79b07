"""The supervisor and its workers: one small privileged process, and one unprivileged process a core."""
