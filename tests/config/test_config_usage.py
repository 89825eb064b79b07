"""One warning for each setting that has no effect."""

from __future__ import annotations

import pytest
from config_parts import MASTER, write_config

from fastrelay.config import check, load
from fastrelay.config.parameters import PARAMETERS
from fastrelay.config.postfix_names import POSTFIX_NAMES


def warnings(tmp_path, main, master=""):
    directory = write_config(tmp_path, main, MASTER.read_text() + master)
    return [warning.removeprefix(f"{directory}/") for warning in check(load(directory))]


def test_quiet_when_all_is_used(tmp_path):
    main = """mynets = 10.0.0.0/8
mynetworks = $mynets
lmtp_destination_concurrency_limit = $lmtp_limit
lmtp_limit = 3
virtual_maps =
multi_instance_name = two
only_in_master = 5
relayhost = ${outside?[out]:[in]}
"""
    assert warnings(tmp_path, main, "10025 inet n - n - - smtpd -o smtpd_timeout=$only_in_master\n") == []


def test_postfix_has_it(tmp_path):
    unused = next(name for name in ("smtpd_milters", "smtp_sasl_auth_cache_name") if name not in PARAMETERS)
    said = f"{unused}: Postfix has this parameter, fastrelay does not use it yet"
    assert warnings(tmp_path, f"\n{unused} = x\n") == [f"main.cf, line 2: {said}"]
    lines = len(MASTER.read_text().splitlines())
    entry = f"10025 inet n - n - - smtpd -o {unused}=x\n"
    assert warnings(tmp_path, "", entry) == [f"master.cf, line {lines + 1}: {said}"]
    assert "does not use it yet" in warnings(tmp_path, "maildrop_time_limit = 5s")[0]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("smtpd_timout", "smtpd_timeout"),
        ("fastrelay_worker", "fastrelay_workers"),
        ("Relayhost", "relayhost"),
    ],
)
def test_unknown_names_the_nearest(tmp_path, name, nearest):
    said = f"main.cf, line 1: unknown parameter: {name}; the nearest name is {nearest}"
    assert warnings(tmp_path, f"{name} = 5") == [said]


def test_unknown_without_a_near_name(tmp_path):
    assert warnings(tmp_path, "zzzz = 5\nqqqq = $zzzz") == [
        "main.cf, line 1: unknown parameter: zzzz",
        "main.cf, line 2: unknown parameter: qqqq",
    ]


def test_reference_to_nothing(tmp_path):
    assert warnings(tmp_path, "mynetworks = $mynetz 10.0.0.0/8") == [
        "main.cf, line 1: mynetworks: undefined parameter: mynetz"
    ]


def test_every_declared_postfix_name_is_one():
    own = {name for name in PARAMETERS if name.startswith("fastrelay_")}
    assert set(PARAMETERS) - own <= POSTFIX_NAMES
