"""What HeaderCleaner must make of a header block: the obvious way, over whole lines."""

from __future__ import annotations

from reference.content_reference import (
    header_name,
    is_mailbox_line,
    logical_headers,
    wire_form,
)

RESENT = [b"resent-from", b"resent-date", b"resent-message-id", b"resent-to", b"resent-cc", b"resent-bcc"]
RESENT += [b"resent-sender", b"resent-reply-to"]
VISIBLE = {b"to", b"cc", b"resent-to", b"resent-cc"}


def clean(
    lines: list[bytes],
    separator: bool,
    *,
    received: bytes,
    dropped: set[bytes],
    limit: int,
    add: dict[bytes, bytes] | None = None,
    undisclosed: bytes = b"",
) -> tuple[bytes, int]:
    """The header to store and the number of hops. `add` has the values of message-id, date and from."""
    out: list[bytes] = []
    seen: set[bytes] = set()
    hops = 1
    leading = True
    for header in logical_headers(lines):
        leading = leading and is_mailbox_line(header[0])
        if leading:
            out.append(b"X-Mailbox-Line: " + header[0])
            continue
        name = header_name(header[0])
        seen.add(name.lower())
        hops += name.lower() == b"received"
        if name.lower() not in dropped:
            text = b"\r\n".join([name + header[0][len(name) :].lstrip(b" \t"), *header[1:]])
            most = max(limit, len(name) + 1)  # without its colon it would end the header
            out.append(text[:most].rstrip(b"\r\n") if len(text) > most else text)
    if add is not None:
        prefix = b"resent-" if seen & set(RESENT) else b""
        missing = [name for name in (b"message-id", b"date", b"from") if prefix + name not in seen]
        out += [prefix.title() + name.title() + b": " + add[name] for name in missing]
        if undisclosed and not seen & VISIBLE:
            out.append(undisclosed)
    body = b"".join(wire_form(header.split(b"\r\n")) for header in out)
    return received + body + (b"\r\n" if separator else b""), hops
