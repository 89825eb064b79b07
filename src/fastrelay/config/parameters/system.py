"""Who this machine is, where files are, as whom processes run, how the log is written."""

from fastrelay.config.declaration import choice, integer, names, required, text, yes_no

HOSTNAME = r"(?i)(?=.{1,255}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*|\[[0-9a-f.:]+\]"
HOSTNAME_DOC = "a valid hostname"

_FACILITIES = tuple(
    "auth authpriv cron daemon ftp kern lpr mail news security syslog user uucp".split()  # noqa: SIM905
) + tuple(f"local{number}" for number in range(8))

PARAMETERS = (
    text(
        "myhostname",
        "",
        "The Internet hostname of this mail system.",
        pattern=HOSTNAME,
        pattern_doc=HOSTNAME_DOC,
        computed="the system's hostname, with .$mydomain or .localdomain when it has no dot",
    ),
    text(
        "mydomain",
        "",
        "The Internet domain name of this mail system.",
        pattern=HOSTNAME,
        pattern_doc="a valid domain name",
        computed="$myhostname without its first label, or localdomain",
    ),
    text("mail_name", "fastrelay", "The mail system name in Received: headers, the banner and notices."),
    text(
        "mail_version",
        "",
        "The version of this mail system, for use in other parameters.",
        computed="the version",
    ),
    text("config_directory", "", "Where main.cf and master.cf are.", computed="the directory that was read"),
    text(
        "process_name",
        "",
        "The name of the process that asks, for use in other parameters.",
        computed="the service's command",
    ),
    text("process_id", "", "The process ID of the process that asks.", computed="the process ID"),
    text(
        "service_name",
        "",
        "The master.cf service name of the process that asks.",
        computed="the service's name",
    ),
    text(
        "compatibility_level",
        "0",
        "Whose defaults apply: those of this Postfix version, or 0 for those before 3.0.",
        pattern=r"\d{1,9}(\.\d{1,9}){0,2}",
        pattern_doc="number, number.number or number.number.number",
    ),
    required("queue_directory", "/var/spool/postfix", "Where the queue's shards and local sockets are."),
    required("data_directory", "/var/lib/postfix", "Where the mail system keeps writable data files."),
    required("command_directory", "/usr/sbin", "Accepted from copied configurations; without effect."),
    required(
        "daemon_directory",
        "/usr/lib/postfix/sbin",
        "Accepted from copied configurations; without effect.",
    ),
    required(
        "meta_directory",
        "/etc/postfix",
        "Accepted from copied configurations; without effect.",
    ),
    required("mail_owner", "postfix", "The user who owns the queue and runs the workers."),
    required("setgid_group", "postdrop", "Accepted from copied configurations; without effect."),
    integer(
        "default_process_limit",
        "100",
        "The process limit of a service whose master.cf column is -.",
        minimum=1,
    ),
    names(
        "inet_interfaces",
        "all",
        "The addresses to receive mail on: all, loopback-only, or addresses and names.",
    ),
    names(
        "inet_protocols",
        "all",
        "The Internet protocols to use.",
        pattern=r"(?i)[ ,]*(all|ipv4|ipv6)([ ,]+(all|ipv4|ipv6))*[ ,]*",
        pattern_doc="all, ipv4, ipv6, or ipv4 and ipv6",
    ),
    names("proxy_interfaces", "", "Addresses that a proxy or NAT in front of this machine receives mail on."),
    names(
        "known_tcp_ports",
        "lmtp=24, smtp=25, smtps=submissions=465, submission=587",
        "Service names and their TCP ports, asked before the system's services database.",
        pattern=r"[ ,]*([A-Za-z0-9_-]+=)+[0-9]{1,5}([ ,]+([A-Za-z0-9_-]+=)+[0-9]{1,5})*[ ,]*|",
        pattern_doc="a list of name=port",
    ),
    yes_no(
        "smtputf8_enable",
        "${{$compatibility_level} <level {1} ? {no} : {yes}}",
        "Take part in SMTPUTF8 (RFC 6531).",
    ),
    yes_no("enable_long_queue_ids", "no", "Use long queue IDs that are never reused."),
    text("default_database_type", "hash", "The table type of postmap and postalias when none is given."),
    text(
        "syslog_name",
        "${multi_instance_name?{$multi_instance_name}:{postfix}}",
        "What stands before /service in the mail log.",
    ),
    choice(
        "syslog_facility",
        "mail",
        _FACILITIES,
        "The syslog facility of the mail log.",
    ),
    text("maillog_file", "", "The file to log to instead of syslog; /dev/stdout with start-fg."),
    names("maillog_file_prefixes", "/var, /dev/stdout", "What the name of maillog_file must start with."),
)
