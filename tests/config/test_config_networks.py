"""The default of mynetworks: Postfix's from the same interfaces."""

from __future__ import annotations

import ipaddress

import pytest
from config_parts import postconf, write_config

from fastrelay.config import load
from fastrelay.config.interfaces import default_networks, own_interfaces


@pytest.mark.parametrize("style", ["host", "subnet", "class"])
@pytest.mark.parametrize("interfaces", ["all", "loopback-only", "127.0.0.1", "localhost, 127.0.0.1"])
@pytest.mark.parametrize("protocols", ["all", "ipv4"])
def test_mynetworks_is_postfixs(tmp_path, style, interfaces, protocols):
    main = f"mynetworks_style={style}\ninet_interfaces={interfaces}\ninet_protocols={protocols}\n"
    directory = write_config(tmp_path, main)
    assert load(directory).text("mynetworks") == postconf(directory, "-xh", "mynetworks")[0]


def test_loopback_is_ours():
    assert ipaddress.ip_interface("127.0.0.1/8") in own_interfaces()


def test_styles():
    ours = [
        ipaddress.ip_interface(text)
        for text in ("10.1.2.3/20", "172.16.5.6/28", "192.0.2.1/30", "2001:db8::1/64")
    ]
    assert default_networks("host", ours) == "10.1.2.3/32 172.16.5.6/32 192.0.2.1/32 [2001:db8::1]/128"
    assert default_networks("subnet", ours) == "10.1.0.0/20 172.16.5.0/28 192.0.2.0/30 [2001:db8::]/64"
    assert default_networks("class", ours) == "10.0.0.0/8 172.16.0.0/16 192.0.2.0/24 [2001:db8::]/64"
