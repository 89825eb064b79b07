"""Random configurations and messages, the same for the same seed, through Postfix and through this relay.

What is compared, and how, is in support/differential.py; support/random_rewriting.py and random_contents.py make
the plans. The long run is for
`make soak`. A seed that differed is a bug or a row of docs/differences.md; what it showed is in the scenarios.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scenario_parts import IS_ROOT

from support.differential import Mail, Plan, compare
from support.random_contents import content
from support.random_rewriting import rewriting

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="Postfix must be started by root")
PURPOSE = {
    "canonical-form": ("<a@T.TEST>", b"To: x@t.test\r\n\r\n"),
    "empty-local": ('<""@t.test>', b"To: x@t.test\r\n\r\n"),
    "dropped-header": ("<a@t.test>", b"Bcc: many@t.test\r\n\r\n"),
    "generic-same": ("<a@t.test>", b"To:  same@t.test\r\n\r\n"),
    "own-8bit": ("<a@t.test>", b"To: x@t.test\r\n\r\n\xe9\r\n"),
    "bare-lf-sent": ("<a@t.test>", b"To: x@t.test\r\nX-Fold: 1\r\n\t2\r\n\r\n"),
}


def check(plan: Plan) -> None:
    different = compare(plan)
    assert not different, f"{plan.name}: {dict(plan.main)} {dict(plan.tables)}\n" + "\n".join(different)


@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize("family", [rewriting, content])
def test_random_plans(family: Callable[[int], Plan], seed: int) -> None:
    check(family(seed))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 160))
@pytest.mark.parametrize("family", [rewriting, content])
def test_many_random_plans(family: Callable[[int], Plan], seed: int) -> None:
    check(family(seed))


def test_what_differs_on_purpose() -> None:
    """Rows of docs/differences.md, and one message in which there is no difference."""
    mails = [Mail("<s@t.test>", (recipient,), content) for recipient, content in PURPOSE.values()]
    main = {
        "canonical_maps": "inline:{{many@t.test=x@t.test, y@t.test}}",
        "smtp_generic_maps": "inline:{same@t.test=same@t.test}",
        "smtp_header_checks": "regexp:$config_directory/sent",
    }
    tables = {"sent": "/^X-Fold: (.*)/ PREPEND X-New: $1\n"}
    same = Mail("<s@t.test>", ("<a@t.test>",), b"To: x@t.test\r\n\r\n")
    different = compare(Plan("purpose", main, tables, (same, *mails), exact=True))
    assert [mail for mail in (same, *mails) if any(str(mail) in text for text in different)] == mails
