"""The version of the package, and `mail_version` in the configuration."""

VERSION = "0.1.0"
