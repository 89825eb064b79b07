from collections.abc import Sequence

from fastrelay.borders import Envelope
from fastrelay.queue._entry import Entry

def encode_envelope(envelope: Envelope, entry: Entry | None = None, settles: Sequence[int] = ()) -> bytes: ...
def decode_envelope(data: bytes) -> Envelope: ...
