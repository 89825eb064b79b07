"""What the supervisor itself needs of main.cf; each worker gets the whole configuration besides."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MasterSettings:
    queue_directory: str
    data_directory: str
    mail_owner: str
    inet_interfaces: tuple[str, ...]
    inet_protocols: tuple[str, ...]
    maillog_file: str
    fastrelay_workers: int
    fastrelay_queue_shards: int
    fastrelay_disk_check: str
