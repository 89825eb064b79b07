"""postqueue, mailq, postsuper, postcat: output and statuses as recorded from Postfix 3.7.11."""

import io
import json
import subprocess
import sys

import pytest
from office import message

LISTING = """\
-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------
B15979840F3    3273 Sun Nov 22 23:23:31  a@b.example
                       (connect to 127.0.0.1[127.0.0.1]:1: Connection refused)
                                         x@y.example
                                         "q \\" r"@z.example
                                         z@z.example

AFD8E9841C3!     315 Sun Nov 22 23:23:31  MAILER-DAEMON
                                         x@y.example

-- 3 Kbytes in 2 Requests.
"""
LONG_LISTING = """\
----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------
4jXm1p5YT8z1SC8W*      292 Sun Nov 22 23:23:31 a@b.example
                                               x@y.example

-- 0 Kbytes in 1 Request.
"""
PLAIN = [{"address": "x@y.example", "reason": ""}]


def fill(office):
    first, second = office.open()
    first.messages["B15979840F3"] = message("B15979840F3")
    second.messages["AFD8E9841C3"] = message("AFD8E9841C3", "hold", "", 315, PLAIN)
    return first, second


def test_listing_is_postfixs(office, capfd):
    fill(office)
    assert office.run("postqueue", "-p") == 0
    assert capfd.readouterr() == (LISTING, "")
    assert office.run("mailq") == 0
    assert capfd.readouterr().out == LISTING


def test_listing_with_long_ids(office, capfd):
    office.write("enable_long_queue_ids = yes\n")
    office.open()[1].messages["4jXm1p5YT8z1SC8W"] = message(
        "4jXm1p5YT8z1SC8W", "active", size=292, recipients=PLAIN
    )
    assert office.run("mailq") == 0
    assert capfd.readouterr().out == LONG_LISTING


def test_listing_marks_what_expires_by_hand(office, capfd):
    fill(office)
    assert office.run("postsuper", "-e", "ALL") == 0
    assert capfd.readouterr().err == "postsuper: Force-expired: 2 messages\n"
    assert office.run("postqueue", "-p") == 0
    marked = LISTING.replace("840F3    3273", "840F3#    3273").replace("841C3!     315", "841C3!#     315")
    assert capfd.readouterr().out == marked
    assert office.run("postqueue", "-j") == 0
    assert capfd.readouterr().out.count('"forced_expire": true') == 2


def test_empty_queue(office, capfd):
    office.open()
    assert office.run("postqueue", "-p") == 0
    assert office.run("postqueue", "-j") == 0
    assert capfd.readouterr() == ("Mail queue is empty\n", "")


def test_json_has_postfixs_members(office, capfd):
    fill(office)
    assert office.run("postqueue", "-j") == 0
    lines = capfd.readouterr().out.splitlines()
    reason = "connect to 127.0.0.1[127.0.0.1]:1: Connection refused"
    assert lines[0].startswith(
        '{"queue_name": "deferred", "queue_id": "B15979840F3", "arrival_time": 1795389811, '
        '"message_size": 3273, "forced_expire": false, "sender": "a@b.example", '
        '"recipients": [{"address": "x@y.example", "delay_reason": '
    )
    assert json.loads(lines[0])["recipients"] == [
        {"address": "x@y.example", "delay_reason": reason},
        {"address": '"q \\" r"@z.example', "delay_reason": reason},
        {"address": "z@z.example"},
    ]
    assert json.loads(lines[1])["sender"] == "MAILER-DAEMON"


def test_a_message_that_comes_in_pieces_is_one_entry(office, capfd):
    shelf = office.open(1)[0]
    shelf.messages["A"] = message("AAAAAAA", recipients=PLAIN)
    shelf.messages["B"] = message("AAAAAAA", recipients=[{"address": "second@y.example", "reason": ""}])
    office.run("postqueue", "-j")
    (line,) = capfd.readouterr().out.splitlines()
    assert [one["address"] for one in json.loads(line)["recipients"]] == ["x@y.example", "second@y.example"]
    office.run("postqueue", "-p")
    assert "in 1 Request." in capfd.readouterr().out


def test_control_characters_do_not_reach_the_terminal(office, capfd):
    office.open(1)[0].messages["A"] = message(
        "AAAAAAA", recipients=[{"address": "\x1b[2Jx\u009b@y", "reason": "a\r\nb\x7f"}]
    )
    office.run("postqueue", "-p")
    shown = capfd.readouterr().out
    assert "?[2Jx?@y" in shown and "(a??b?)" in shown
    office.run("postqueue", "-j")
    assert all(" " <= char <= "~" for char in capfd.readouterr().out.strip() if char < "\x80")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site"),
        (("-p", "foo"), "usage: postqueue"),
        (("-f", "-p"), "usage: postqueue"),
        (("-x",), "invalid option -- 'x'"),
        (("-i", "../a"), 'Cannot flush queue ID - invalid name: "../a"'),
        (("-f",), "Cannot flush mail queue - mail system is down"),
        (("-p",), "Queue report unavailable - mail system is down"),
    ],
)
def test_postqueue_refusals_have_status_69(office, capfd, words, text):
    assert office.run("postqueue", *words) == 69
    assert text in capfd.readouterr().err


def test_socket_left_by_a_dead_system_is_down(office, capfd):
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(office.public / "worker.0"))
    assert office.run("mailq") == 69
    assert "mail system is down" in capfd.readouterr().err


def test_flushing_reaches_every_worker(office):
    first, second = fill(office)
    assert office.run("postqueue", "-f") == office.run("flush") == 0
    assert office.run("postqueue", "-i", "B15979840F3") == 0
    assert office.run("postqueue", "-s", "y.example") == 0
    assert first.calls == second.calls == ["flush", "flush", "B15979840F3", "y.example"]


def test_postsuper_says_what_postfix_says(office, capfd, monkeypatch):
    first, second = fill(office)
    said = lambda: capfd.readouterr().err  # noqa: E731
    assert office.run("postsuper", "-h", "B15979840F3") == 0
    assert said() == "postsuper: B15979840F3: placed on hold\npostsuper: Placed on hold: 1 message\n"
    assert office.run("postsuper", "-h", "B15979840F3") == 0
    assert said() == "postsuper: Placed on hold: 0 messages\n"
    assert office.run("postsuper", "-H", "ALL") == 0
    assert said() == "postsuper: Released from hold: 2 messages\n"
    assert office.run("postsuper", "-h", "AFD8E9841C3") == 0 and said()
    assert office.run("postsuper", "-f", "AFD8E9841C3", "-e", "B15979840F3", "-f", "zz/") == 0
    assert said() == (
        "postsuper: warning: invalid mail queue id: zz/\n"
        "postsuper: B15979840F3: expired\npostsuper: AFD8E9841C3: expired\npostsuper: Force-expired: 2 messages\n"
        "postsuper: AFD8E9841C3: released from hold\npostsuper: Released from hold: 1 message\n"
    )
    assert office.run("postsuper", "-r", "AFD8E9841C3") == 0
    assert said() == "postsuper: AFD8E9841C3: requeued\npostsuper: Requeued: 1 message\n"
    assert office.run("postsuper", "-d", "zz/") == 0
    assert said() == "postsuper: warning: invalid mail queue id: zz/\npostsuper: Deleted: 0 messages\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("AAAA\nB15979840F3\n\n"))
    assert office.run("postsuper", "-d", "-") == 0
    assert said() == (
        "postsuper: warning: invalid mail queue id: \n"
        "postsuper: B15979840F3: removed\npostsuper: Deleted: 1 message\n"
    )
    assert office.run("postsuper", "-d", "ALL", "hold") == 0
    assert said() == "postsuper: Deleted: 0 messages\n"
    assert office.run("postsuper", "-d", "ALL", "nosuch") == 1
    assert said() == "postsuper: fatal: invalid directory name: nosuch\n"
    assert office.run("postsuper", "-d", "ALL") == 0
    assert said() == "postsuper: Deleted: 1 message\n"
    assert not first.messages and not second.messages
    first.messages["AAAAAA"] = message("AAAAAA")
    assert office.run("postsuper", "-h", "ALL", "hold") == 0
    assert said() == "postsuper: Placed on hold: 0 messages\n"
    assert first.messages["AAAAAA"]["state"] == "deferred"
    assert office.run("postsuper") == 0
    assert office.run("postsuper", "-d") == 1
    assert "option requires an argument -- 'd'" in said()


def test_postsuper_with_more_ids_than_one_request_takes(office, capfd, monkeypatch):
    shelf = office.open(2)[1]
    ids = [f"{number:05X}" for number in range(1203)]
    shelf.messages = {queue_id: message(queue_id) for queue_id in ids}
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(ids)))
    assert office.run("postsuper", "-d", "-") == 0
    assert capfd.readouterr().err.endswith("postsuper: Deleted: 1203 messages\n")
    assert not shelf.messages


CAT = """\
*** ENVELOPE RECORDS deferred/B15979840F3 ***
message_size:            3273               0               1               0            3273               0
message_arrival_time: Sun Nov 22 23:23:31 2026
create_time: Sun Nov 22 23:23:31 2026
named_attribute: log_ident=B15979840F3
sender: a@b.example
named_attribute: client_name=c.example
named_attribute: dsn_orig_rcpt=rfc822;o@x
original_recipient: x@y.example
recipient: x@y.example
*** MESSAGE CONTENTS deferred/B15979840F3 ***
"""
TYPED = """\
*** ENVELOPE RECORDS deferred/B15979840F3 ***
 67 message_size:            3273               0               1               0            3273               0
 84 message_arrival_time: Sun Nov 22 23:23:31 2026
 65 create_time: Sun Nov 22 23:23:31 2026
 65 named_attribute: log_ident=B15979840F3
 83 sender: a@b.example
 65 named_attribute: client_name=c.example
 65 named_attribute: dsn_orig_rcpt=rfc822;o@x
 79 original_recipient: x@y.example
 82 recipient: x@y.example
 77 *** MESSAGE CONTENTS deferred/B15979840F3 ***
 88 *** HEADER EXTRACTED deferred/B15979840F3 ***
 69 *** MESSAGE FILE END deferred/B15979840F3 ***
"""
HEADER = "Subject: hi\nX: a\n b\n"
BODY = "\n.dot\nbody: x\n"
CAT_END = "*** HEADER EXTRACTED deferred/B15979840F3 ***\n*** MESSAGE FILE END deferred/B15979840F3 ***\n"


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ("-q", CAT + HEADER + BODY + CAT_END),
        ("-eq", CAT + CAT_END),
        ("-hq", HEADER),
        ("-bq", BODY),
        ("-bhq", HEADER + BODY),
        ("-rq", CAT + HEADER + BODY + CAT_END),
        ("-dhq", " 78 Subject: hi\n 78 X: a\n 78  b\n"),
        ("-deq", TYPED),
    ],
)
def test_postcat_shows_the_parts_asked_for(office, capfd, flags, shown):
    office.open()[1].messages["B15979840F3"] = message("B15979840F3", recipients=PLAIN)
    assert office.run("postcat", flags, "B15979840F3") == 0
    assert capfd.readouterr().out == shown


def test_postcat_refusals(office, capfd):
    office.open()
    assert office.run("postcat", "-q", "AAAAAAAAAA") == 1
    assert capfd.readouterr().err == "postcat: fatal: open queue file AAAAAAAAAA: No such file or directory\n"
    assert office.run("postcat", "-q", "../x") == 1
    assert capfd.readouterr().err == "postcat: fatal: bad mail queue ID: ../x\n"
    for args in (("-oq", "AAAAAAAAAA"), ("-s", "77", "-q", "AAAAAAAAAA")):
        assert office.run("postcat", *args) == 1
        assert "there are no offsets" in capfd.readouterr().err


def test_tools_by_their_own_names_start_without_the_heavy_libraries(office):
    program = (
        "import sys; sys.argv = ['/usr/bin/mailq', '-c', sys.argv[1]]\n"
        "from fastrelay.admin.command_line import main\n"
        "status = main()\n"
        "heavy = {'asyncio', 'uvloop', 'aiosmtplib', 'dns', 'lmdb', 'ssl'} & set(sys.modules)\n"
        "print(status, sorted(heavy))\n"
    )
    office.open()
    done = subprocess.run(
        [sys.executable, "-c", program, str(office.directory)], capture_output=True, text=True
    )
    assert done.stdout == "Mail queue is empty\n0 []\n"
