"""The declarations: Postfix's defaults, the committed reference, and what the rooms read."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import typing
from pathlib import Path

from config_parts import postconf, write_config

import fastrelay
from fastrelay.config import load
from fastrelay.config.parameters import AREAS, PARAMETERS, TRANSPORT_SUFFIXES
from fastrelay.config.postfix_names import POSTFIX_NAMES
from fastrelay.config.reference import render
from fastrelay.config.settings import Config

PROJECT = Path(__file__).parents[2]

# defaults that differ from Postfix 3.7's on purpose: docs/differences.md
DIFFERENT = {
    "mail_name": "fastrelay",
    "smtpd_forbid_bare_newline": "normalize",
    "smtpd_forbid_unauth_pipelining": "yes",
}
# where Postfix is installed and what it is called differs from one installation to the next
COMPUTED_HERE = {"mail_version", "process_id", "process_name", "config_directory"}


def test_defaults_are_postfixs(tmp_path):
    lines = postconf(write_config(tmp_path, ""), "-d")
    postfix = {name: value.strip() for name, _, value in (line.partition(" =") for line in lines)}
    config = Config(tmp_path, {}, [])
    scope = config.scope()
    for name in PARAMETERS:
        if not name.startswith("fastrelay_") and name not in COMPUTED_HERE:
            assert config.default(name, scope.expand_name) == DIFFERENT.get(name, postfix[name]), name


def test_names_are_postfixs(tmp_path):
    lines = postconf(write_config(tmp_path, "", ""), "-d")
    assert {line.split(" ")[0] for line in lines} <= POSTFIX_NAMES


def test_every_declaration_is_whole():
    assert sum(len(parameters) for _, parameters in AREAS) == len(PARAMETERS)  # no name twice
    for parameter in PARAMETERS.values():
        assert parameter.doc.endswith((".", "no limit")), parameter.name
        assert len(parameter.doc) <= 110, parameter.name
        assert parameter.default or parameter.computed or parameter.convert("") in ("", ()), parameter.name


def test_reference_is_in_step():
    command = "python -m fastrelay.config.reference docs/parameters.md"
    assert (PROJECT / "docs/parameters.md").read_text() == render(), f"run {command}"


# what Postfix's other parameters refer to, or a copied main.cf says of programs that fastrelay does not have
NOT_READ_BY_ROOMS = {
    "compatibility_level",
    "default_process_limit",
    "known_tcp_ports",
    "mynetworks_style",
    "mail_version",
    "config_directory",
    "process_id",
    "process_name",
    "service_name",
    "command_directory",
    "daemon_directory",
    "meta_directory",
    "setgid_group",
}


def test_what_is_declared_is_read():
    """Else the warning "fastrelay does not use it yet" would not come for it."""
    files = [path for path in (PROJECT / "src/fastrelay").rglob("*.py*") if path.suffix in (".py", ".pyx")]
    source = " ".join(path.read_text() for path in files if "config" not in path.parts)
    words = set(re.findall(r"[a-z0-9_]+", source))
    for suffix in words & set(TRANSPORT_SUFFIXES):
        words |= {f"default_{suffix}", f"local_{suffix}"}
    unread = {name for name in PARAMETERS if not {name, f"_{name}"} & words}
    assert unread <= NOT_READ_BY_ROOMS


def room_settings():
    """The settings dataclasses of all rooms."""
    for module in pkgutil.walk_packages(fastrelay.__path__, "fastrelay."):
        if module.name.rpartition(".")[2].endswith("settings") and ".config." not in module.name:
            for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if dataclasses.is_dataclass(cls) and cls.__module__ == module.name:
                    yield cls


def test_rooms_read_declared_parameters_of_the_right_kind(tmp_path):
    config = load(write_config(tmp_path, ""))
    kinds, rooms = {bool, int, float, str, tuple[str, ...]}, []
    for cls in room_settings():
        hints = typing.get_type_hints(cls)
        names = {
            field.metadata.get("parameter") or field.name.lstrip("_") for field in dataclasses.fields(cls)
        }
        # a class of which no field is a parameter is made of others' values
        if names & PARAMETERS.keys() and set(hints.values()) <= kinds:
            assert isinstance(config.room(cls, {}), cls)
            rooms.append(cls)
    assert len(rooms) > 10
