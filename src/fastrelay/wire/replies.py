"""Every fixed SMTP reply, named by its code; Postfix's wording, so that scripts and people find what they know.

A reply is `bytes` without its CRLF; the session adds it. Replies with a value in them are functions.
RFC 5321 4.2, RFC 3463 for the enhanced codes.
"""

R221_BYE = b"221 2.0.0 Bye"
R221_NOT_SMTP = b"221 2.7.0 Error: I can break rules, too. Goodbye."
R250_OK = b"250 2.0.0 Ok"
R250_SENDER_OK = b"250 2.1.0 Ok"
R250_RECIPIENT_OK = b"250 2.1.5 Ok"
R250_QUEUED_AS = b"250 2.0.0 Ok: queued as "  # and the queue id
R354_GO_AHEAD = b"354 End data with <CR><LF>.<CR><LF>"

R451_ALIAS_EXPANSION_ERROR = b"451 4.6.0 Alias expansion error"
R451_LOOKUP_ERROR = b"451 4.3.0 Temporary lookup error"
R451_QUEUE_FILE_WRITE_ERROR = b"451 4.3.0 Error: queue file write error"
R451_TABLE_FAILURE_TEXT = b"Temporary lookup failure"
R421_STORAGE_FULL = b"421 4.3.1 Insufficient system storage"
R452_TOO_MANY_RECIPIENTS = b"452 4.5.3 Error: too many recipients"
R451_QUEUE_WRITE = b"451 4.3.0 Error: queue file write error"
R452_STORAGE_FULL = b"452 4.3.1 Insufficient system storage"

R500_BAD_SYNTAX = b"500 5.5.2 Error: bad syntax"
R500_BAD_UTF8 = b"500 5.5.2 Error: bad UTF-8 syntax"
R500_ETRN_SYNTAX = b"500 Syntax: ETRN domain"
R500_LINE_TOO_LONG = b"500 5.5.2 Error: command too long"
R500_UNKNOWN_COMMAND = b"500 5.5.2 Error: command not recognized"
R501_BAD_BYTE = b"501 5.5.2 Error: control character in command"
R501_BODY = b"501 5.5.4 Bad BODY parameter syntax"
R501_DATA_SYNTAX = b"501 5.5.4 Syntax: DATA"
R501_EHLO_SYNTAX = b"501 Syntax: EHLO hostname"
R501_ENVID = b"501 5.5.4 Bad ENVID parameter syntax"
R501_ETRN_PARAMETER = b"501 Error: invalid parameter syntax"
R501_HELO_SYNTAX = b"501 Syntax: HELO hostname"
R501_MAIL_AUTH = b"501 5.5.4 Bad AUTH parameter syntax"
R501_MAIL_SYNTAX = b"501 5.5.4 Syntax: MAIL FROM:<address>"
R501_NOTIFY = b"501 5.5.4 Error: Bad NOTIFY parameter syntax"
R501_ORCPT = b"501 5.5.4 Error: Bad ORCPT parameter syntax"
R501_RCPT_SYNTAX = b"501 5.5.4 Syntax: RCPT TO:<address>"
R501_RECIPIENT_ADDRESS = b"501 5.1.3 Bad recipient address syntax"
R501_RET = b"501 5.5.4 Bad RET parameter syntax"
R501_RSET_SYNTAX = b"501 5.5.4 Syntax: RSET"
R501_SENDER_ADDRESS = b"501 5.1.7 Bad sender address syntax"
R501_SIZE = b"501 5.5.4 Bad message size syntax"
R501_STARTTLS_SYNTAX = b"501 5.5.4 Syntax: STARTTLS"
R501_VRFY_SYNTAX = b"501 5.5.4 Syntax: VRFY address [SMTPUTF8]"
R502_NOT_IMPLEMENTED = b"502 5.5.1 Error: command not implemented"
R502_VRFY_DISABLED = b"502 5.5.1 VRFY command is disabled"
R503_AUTH_NOT_ENABLED = b"503 5.5.1 Error: authentication not enabled"
R503_DATA_AFTER_BDAT = b"503 5.5.1 Error: DATA after BDAT"
R503_ETRN_NEED_HELO = b"503 Error: send HELO/EHLO first"
R503_IN_TRANSACTION = b"503 5.5.1 Error: MAIL transaction in progress"
R503_MAIL_AFTER_BDAT = b"503 5.5.1 Error: MAIL after BDAT"
R503_NEED_HELO = b"503 5.5.1 Error: send HELO/EHLO first"
R503_NEED_MAIL = b"503 5.5.1 Error: need MAIL command"
R503_NEED_RCPT = b"503 5.5.1 Error: need RCPT command"
R503_NESTED_MAIL = b"503 5.5.1 Error: nested MAIL command"
R503_RCPT_AFTER_BDAT = b"503 5.5.1 Error: RCPT after BDAT"
R521_BDAT_SYNTAX = b"521 5.5.4 Syntax: BDAT count [LAST]"
R550_NOT_AUTHORIZED = b"550 5.7.0 Error: insufficient authorization"
R552_CHUNK_TOO_BIG = b"552 5.3.4 Chunk exceeds message size limit"
R552_SIZE_LIMIT = b"552 5.3.4 Message size exceeds fixed limit"
R552_TOO_BIG = b"552 5.3.4 Error: message file too big"
R553_NOT_SMTPUTF8 = b"553 5.6.7 Error: address needs SMTPUTF8"
R554_NO_VALID_RECIPIENTS = b"554 5.5.1 Error: no valid recipients"
R554_SYNCHRONIZATION = b"554 5.5.0 Error: SMTP protocol synchronization"
R554_TOO_MANY_HOPS = b"554 5.4.0 Error: too many hops"


def r250_chunk(size: int) -> bytes:
    """A BDAT chunk was taken (RFC 3030)."""
    return b"250 2.0.0 Ok: %d bytes" % size


def r250_chunk_queued(size: int, queue_id: bytes) -> bytes:
    """The last BDAT chunk was taken and the message is durable and ours; `size` is the whole message."""
    return b"250 2.0.0 Ok: %d bytes queued as %b" % (size, queue_id)


def r252_unverified(address: bytes) -> bytes:
    """VRFY's answer for every well-formed address: no oracle for who exists."""
    return b"252 2.0.0 " + address


def r421_timeout(myhostname: bytes) -> bytes:
    """RFC 5321 4.5.3.2."""
    return b"421 4.4.2 %b Error: timeout exceeded" % myhostname


def r421_too_many_errors(myhostname: bytes) -> bytes:
    """smtpd_hard_error_limit."""
    return b"421 4.7.0 %b Error: too many errors" % myhostname


def r421_too_many_connections(myhostname: bytes) -> bytes:
    """The service has all the sessions that it may have."""
    return b"421 4.7.0 %b Error: too many connections" % myhostname


def r421_shutting_down(myhostname: bytes) -> bytes:
    """The relay stops or the session's worker goes away."""
    return b"421 4.3.2 %b Service shutting down" % myhostname


def r459_no_flush(domain: bytes) -> bytes:
    """ETRN for a domain that has no fast flush service."""
    return b"459 <%b>: service unavailable" % domain


def r551_discarded(size: int) -> bytes:
    """A BDAT chunk that follows a refused one."""
    return b"551 5.0.0 Discarded %d bytes after earlier error" % size


def r555_unsupported(parameter: bytes) -> bytes:
    """A MAIL or RCPT parameter that no announced extension has (RFC 5321 4.1.1.11)."""
    return b"555 5.5.4 Unsupported option: " + parameter


def bare_newline(code: int, myhostname: bytes) -> bytes:
    """smtpd_forbid_bare_newline = reject; the code is smtpd_forbid_bare_newline_reject_code."""
    return b"%d %d.5.2 %b Error: bare <LF> received" % (code, code // 100, myhostname)
