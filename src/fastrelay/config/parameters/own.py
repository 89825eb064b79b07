"""The parameters that only fastrelay has."""

from fastrelay.config.declaration import choice, integer, names, size, text, time

PARAMETERS = (
    integer("fastrelay_workers", "0", "Worker processes; 0: one a core.", maximum=256),
    integer(
        "fastrelay_queue_shards",
        "16",
        "Shards of the queue; fixed when the queue is made.",
        minimum=1,
        maximum=256,
    ),
    size("fastrelay_segment_size", "67108864", "The size of a segment file of the queue.", minimum=1048576),
    choice(
        "fastrelay_disk_check",
        "enforce",
        ("enforce", "warn", "no"),
        "At start: refuse a queue directory whose disk would lose mail in a power cut, or only warn.",
    ),
    size(
        "fastrelay_content_memory_limit",
        "268435456",
        "Memory for the contents of messages under way, a worker.",
    ),
    size(
        "fastrelay_relocation_rate",
        "8388608",
        "Bytes a second of old messages that are moved so that their segment can be freed.",
        minimum=65536,
    ),
    time(
        "fastrelay_commit_deadline",
        "120s",
        "How long a client waits for the disk before it gets 451 and its message is taken back.",
        minimum=1,
    ),
    integer("fastrelay_smtpd_connection_limit", "20000", "SMTP sessions a worker.", minimum=1),
    integer("fastrelay_smtp_connection_limit", "2000", "SMTP client connections a worker.", minimum=1),
    names(
        "fastrelay_mx_forbidden_networks",
        "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16, "
        "224.0.0.0/4, 240.0.0.0/4, ::/128, ::1/128, fc00::/7, fe80::/10, ff00::/8",
        "Addresses that a stranger's MX record may not send mail to.",
    ),
    integer(
        "fastrelay_retry_jitter", "10", "How much of the backoff time is random.", unit="percent", maximum=100
    ),
    names(
        "fastrelay_dns_servers", "", "The DNS servers to ask: address or [address]:port; empty: the system's."
    ),
    time("fastrelay_dns_timeout", "10s", "How long a DNS look-up may take.", minimum=1),
    text(
        "fastrelay_metrics_directory",
        "",
        "Where sync-table puts its metrics for Prometheus' textfile collector; empty: nowhere.",
    ),
)
