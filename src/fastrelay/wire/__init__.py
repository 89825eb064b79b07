"""The languages: SMTP's commands, replies and parameters, without I/O."""
