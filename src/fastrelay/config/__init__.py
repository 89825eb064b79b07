"""Configuration: main.cf, master.cf and every parameter's declaration; read by master and admin alone."""

from fastrelay.config.errors import ConfigError
from fastrelay.config.master_cf import Service
from fastrelay.config.settings import Config, load, read, read_main, section
from fastrelay.config.usage import check

__all__ = ["Config", "ConfigError", "Service", "check", "load", "read", "read_main", "section"]
