"""The compiled log lines against the obvious ones, and what one line may hold."""

import pathlib

from hypothesis import given
from hypothesis import strategies as st

from fastrelay.log import _line as fast
from fastrelay.log.maillog import MailLog
from fastrelay.log.printable import LONGEST_TEXT, printable
from fastrelay.log.settings import LogSettings
from reference import lines_reference as slow

texts = st.binary(max_size=40)
seconds = st.floats(-1, 1e9) | st.sampled_from(
    [0.0, 0.004, 0.005, 0.095, 0.1, 0.994, 0.999, 1.0, 9.94, 9.96, 10.0]
)


@given(texts, texts, texts)
def test_lines_of_a_connection(name, address, counts):
    assert fast.connect(name, address) == slow.connect(name, address)
    assert fast.disconnect(name, address, counts) == slow.disconnect(name, address, counts)


@given(texts, texts, texts, st.integers(0, 1 << 60), st.integers(0, 100000))
def test_lines_of_a_message(queue_id, first, second, size, recipients):
    assert fast.client(queue_id, first, second) == slow.client(queue_id, first, second)
    assert fast.message_id(queue_id, first) == slow.message_id(queue_id, first)
    assert fast.removed(queue_id) == slow.removed(queue_id)
    active = fast.queue_active(queue_id, first, size, recipients)
    assert active == slow.queue_active(queue_id, first, size, recipients)


@given(texts, texts, texts, st.integers(0, 3), st.tuples(seconds, seconds, seconds, seconds), texts, texts)
def test_lines_of_a_delivery(queue_id, recipient, original, use, delays, dsn, text):
    given_ = (queue_id, recipient, original, b"relay", use, delays, dsn, b"sent", text)
    assert fast.delivery(*given_) == slow.delivery(*given_)
    given_ = (queue_id, recipient, recipient.upper(), *given_[3:])
    assert fast.delivery(*given_) == slow.delivery(*given_)


@given(seconds)
def test_delays(value):
    assert fast.delay_text(value) == slow.delay_text(value)


@given(st.lists(st.binary(max_size=60) | st.text(max_size=20).map(str.encode), max_size=6))
def test_what_is_appended_is_one_printable_line_each(tmp_path_factory, lines):
    path: pathlib.Path = tmp_path_factory.mktemp("log") / "maillog"
    path.touch()
    log = MailLog(
        LogSettings(str(path), (str(path.parent),), "postfix", "mail", "relay.example"), lambda: 1e9
    )
    for text in [*lines, b"x" * (LONGEST_TEXT + 10)]:
        log.line(b"smtpd", text)
    log.close()
    written = path.read_bytes().split(b"\n")[:-1]
    assert [line.partition(b"]: ")[2] for line in written] == [
        *map(printable, lines),
        b"x" * LONGEST_TEXT,
    ]
