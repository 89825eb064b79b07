"""Notices of failure, delay and success: who gets one, and what it says."""

from fastrelay.bounce.notices import (
    Notice,
    header_block,
    headers_suffice,
    make_notice,
    make_postmaster_copy,
)
from fastrelay.bounce.report import Subject
from fastrelay.bounce.settings import BounceSettings
from fastrelay.bounce.templates import DELAY, FAILURE, SUCCESS, Template
from fastrelay.bounce.verdicts import Addressee, addressee, discard_text, to_report

__all__ = [
    "DELAY",
    "FAILURE",
    "SUCCESS",
    "Addressee",
    "BounceSettings",
    "Notice",
    "Subject",
    "Template",
    "addressee",
    "discard_text",
    "header_block",
    "headers_suffice",
    "make_notice",
    "make_postmaster_copy",
    "to_report",
]
