"""Header and body checks as one configuration has them: the tables, the scanner, who is to be asked."""

from __future__ import annotations

from collections.abc import Mapping

from fastrelay.cleanup._mime import MimeScanner
from fastrelay.cleanup.checks import CheckTables, ContentChecks
from fastrelay.config import Config, section
from fastrelay.master.table_opener import TableOpener
from fastrelay.smtpd.settings import ContentSettings
from fastrelay.tables import Maps, TableError


def content_checks(config: Config, opener: TableOpener, overrides: tuple[str, ...]) -> ContentChecks | None:
    """`overrides` are the service's receive_override_options. None: nothing is to be checked."""
    settings = section(ContentSettings, config)

    def tables(name: str) -> CheckTables | None:
        found = Maps(config.text(name), opener)
        wanted = found and "no_header_body_checks" not in (word.lower() for word in overrides)
        return CheckTables(name.encode(), found) if wanted else None

    header, mime = tables("header_checks"), tables("mime_header_checks")
    nested, body = tables("nested_header_checks"), tables("body_checks")
    mime_wanted = not settings.disable_mime_input_processing
    strict = settings.strict_8bitmime
    eight_bit_body = mime_wanted and (strict or settings.strict_8bitmime_body)
    eight_bit_header = mime_wanted and (strict or settings.strict_7bit_headers)
    domain = mime_wanted and settings.strict_mime_encoding_domain
    if not (header or mime or nested or body or eight_bit_body or eight_bit_header or domain):
        return None
    scans = (
        body or eight_bit_body or eight_bit_header or domain or (mime_wanted and (header or mime or nested))
    )
    scanner = MimeScanner(
        nesting_limit=settings.mime_nesting_limit,
        boundary_limit=settings.mime_boundary_length_limit,
        line_limit=settings.line_length_limit,
        body_limit=settings.body_checks_size_limit,
        disabled=settings.disable_mime_input_processing,
        want_headers=mime_wanted and bool(mime or nested or eight_bit_header),
        want_lines=body is not None,
        report_eight_bit=eight_bit_body,
        report_domain=domain,
        report_nesting=mime_wanted,
    )
    return ContentChecks(
        header=header,
        mime=mime,
        nested=nested,
        body=body,
        scanner=scanner if scans else None,
        report_eight_bit_header=eight_bit_header,
        header_size_limit=settings.header_size_limit,
        unavailable=TableError,
    )


def sent_checks(config: Config, overrides: Mapping[str, str], opener: TableOpener) -> ContentChecks | None:
    """smtp_header_checks and its family, for one transport."""
    settings = section(ContentSettings, config)

    def tables(name: str) -> CheckTables | None:
        found = Maps(config.text(name, overrides), opener)
        return CheckTables(name.encode(), found) if found else None

    header, mime = tables("smtp_header_checks"), tables("smtp_mime_header_checks")
    nested, body = tables("smtp_nested_header_checks"), tables("smtp_body_checks")
    if not (header or mime or nested or body):
        return None
    scanner = MimeScanner(
        nesting_limit=settings.mime_nesting_limit,
        boundary_limit=settings.mime_boundary_length_limit,
        line_limit=settings.line_length_limit,
        body_limit=0,
        want_headers=bool(mime or nested),
        want_lines=body is not None,
    )
    return ContentChecks(
        header=header,
        mime=mime,
        nested=nested,
        body=body,
        scanner=scanner,
        report_eight_bit_header=False,
        header_size_limit=settings.header_size_limit,
        unavailable=TableError,
    )
