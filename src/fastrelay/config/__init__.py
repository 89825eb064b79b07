"""Configuration: main.cf, master.cf and the declarations of every parameter; read by master and admin alone."""

from fastrelay.config.errors import ConfigError
from fastrelay.config.master_cf import Service
from fastrelay.config.settings import Config, load, read, section
from fastrelay.config.usage import check

__all__ = ["Config", "ConfigError", "Service", "check", "load", "read", "section"]
