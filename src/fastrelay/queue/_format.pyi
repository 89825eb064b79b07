import enum

MAGIC: int
HEADER: int
BLOCK: int
BATCH_SIZE: int
MAX_PAYLOAD: int
MAX_BATCH: int
VERSION: int
BATCH: int
ENVELOPE: int
DATA: int
COMMIT: int
DONE: int
OUTCOME: int
SETTLED: int
STATE: int
REMOVED: int
CORRUPT: int
DELAY_TOLD: int
EXPANSION_TOLD: int
FORCED_EXPIRE: int

class CorruptRecord(Exception): ...
class NewerFormat(Exception): ...

class State(enum.IntEnum):
    INCOMING = 1
    ACTIVE = 2
    DEFERRED = 3
    HOLD = 4
    CORRUPT = 5
    DONE = 6
