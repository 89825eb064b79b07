"""What start and check warn of because only the rooms know it: what is set and does less than in Postfix."""

import pytest

from fastrelay.master import configuration


def warnings(tmp_path, main, master):
    (tmp_path / "main.cf").write_text(f"compatibility_level = 3.6\n{main}\n")
    (tmp_path / "master.cf").write_text(f"{master}\n")
    return [
        text.removeprefix(f"{tmp_path}/") for text in configuration.warnings(configuration.load(tmp_path))
    ]


def test_nothing_to_say(tmp_path):
    assert warnings(tmp_path, "", "25 inet n - n - - smtpd\nsmtp unix - - n - - smtp") == []


@pytest.mark.parametrize(
    ("main", "master", "said"),
    [
        ("", "25 inet n - y - - smtpd\nqmgr unix n - y - - qmgr", "services are not chrooted yet: 25"),
        ("", "relay unix - - y - - smtp", "services are not chrooted yet: relay"),
        ("", "maildrop unix - n n - - pipe x", "services that fastrelay does not have yet: maildrop (pipe)"),
    ],
)
def test_services(tmp_path, main, master, said):
    assert warnings(tmp_path, main, master) == [f"master.cf: {said}"]


def test_virtual_aliases_are_not_followed(tmp_path):
    found = warnings(tmp_path, "virtual_alias_maps = static:x", "")
    assert found == ["virtual_alias_maps: names virtual_alias_domains; addresses are not rewritten by it yet"]


def test_a_restriction_that_is_not_there(tmp_path):
    found = warnings(tmp_path, "smtpd_recipient_restrictions = reject_unknown_x", "25 inet n - n - - smtpd")
    assert found == ["unsupported smtpd restriction: reject_unknown_x: mail that comes to it is deferred"]
