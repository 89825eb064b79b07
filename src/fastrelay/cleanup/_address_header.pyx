"""The addresses of one header completed and mapped, as cleanup(8) and trivial-rewrite(8) do it (RFC 822 3.4).

HeaderCleaner calls `rewrite` for each header with addresses of a client whose headers are rewritten, delivery
for smtp_generic_maps. A header in which nothing changes is left as it is, byte for byte. One that changes is
written anew: comments go behind their address, missing commas come in, lines are folded near 70 bytes, and
where phrase and comments are above 250 bytes only the address stays.
The header is scanned into tokens, parsed from right to left into `order`, and each address is scanned again.
Every step is linear in the header's length; memory is bounded by header_size_limit, tokens by token_limit.
"""

from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcmp

from fastrelay._bytes cimport (
    FASTRELAY_DEBUG, ByteBuffer, buffer_append, buffer_byte, buffer_free, buffer_init, buffer_object, bytes_ptr,
)
from fastrelay.cleanup._address_token cimport (
    ATOM, COMMENT, LITERAL, QUOTED, START_GROUP, Token, is_spaced, needs_space, scan, tokens_add, write_quoted_local,
    write_token,
)

cdef enum Mark:  # in `order`
    COMMA = -1  # one that was missing
    END = -2
    BEGIN = -3

cdef enum:
    MOST_BESIDE = 250  # bytes of phrase and comments around one address
    LINE = 70
    KEPT = 65536  # bytes of scratch memory that stay

cdef int _live = 0


def live_objects() -> int:
    return _live


cdef int indices_add(IndexList *indices, Py_ssize_t value) except -1:
    cdef Py_ssize_t capacity
    cdef Py_ssize_t *grown
    if indices.count == indices.capacity:
        capacity = indices.capacity * 2 or 128
        grown = <Py_ssize_t *>realloc(indices.items, capacity * sizeof(Py_ssize_t))
        if grown == NULL:
            raise MemoryError
        indices.items, indices.capacity = grown, capacity
    indices.items[indices.count] = value
    indices.count += 1
    return 0


cdef class AddressHeaders:
    """How the headers of one class of clients are rewritten; made at load, reused for each header."""

    def __cinit__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live += 1

    def __init__(self, bytes origin=b"", bytes domain=b"", bint swap_bangpath=True, bint percent_hack=True,
                 bint complete=True, Py_ssize_t token_limit=0, sender_map=None, recipient_map=None):
        """`origin` and `domain` are appended unless empty; the maps take an address in external form and give one."""
        self.origin, self.domain = origin, domain
        self.swap_bangpath, self.percent_hack, self.complete = swap_bangpath, percent_hack, complete
        self.token_limit = token_limit
        self.sender_map, self.recipient_map = sender_map, recipient_map

    def __dealloc__(self):
        global _live
        self.release()
        if FASTRELAY_DEBUG:
            _live -= 1

    cdef int rewrite(
        self, bytes_ptr name, Py_ssize_t name_size, bytes_ptr value, Py_ssize_t size, bint is_sender, ByteBuffer *out,
    ) except -1:
        """Append the rewritten header with its CRLF to `out`; 0: nothing changes, and nothing is appended.

        `value` is what follows the colon, without the last CRLF. What a map raises passes through.
        """
        cdef object mapper = self.sender_map if is_sender else self.recipient_map
        cdef Py_ssize_t i
        cdef bint changed = False
        self.value.size = self.header.count = self.header.text.size = 0
        self.order.count = self.current.count = self.results.size = self.found_count = 0
        for i in range(size):
            if value[i] != 13:
                buffer_byte(&self.value, value[i])
        scan(&self.header, self.value.data, self.value.size, self.token_limit)
        self.parse()
        for i in range(self.found_count - 1, -1, -1):  # found from right to left, mapped from left to right
            changed |= self.rewrite_address(&self.found[i], mapper)
        if changed:
            self.render()
            fold(name, name_size, self.rendered.data, self.rendered.size, out)
        if self.value.capacity > KEPT:
            self.release()
        return changed

    cdef void release(self) noexcept:
        """Free all scratch memory: at the end, and after an enormous header."""
        buffer_free(&self.value)
        buffer_free(&self.source)
        buffer_free(&self.result)
        buffer_free(&self.results)
        buffer_free(&self.lines)
        buffer_free(&self.rendered)
        buffer_free(&self.header.text)
        buffer_free(&self.address.text)
        free(self.header.items)
        free(self.address.items)
        free(self.order.items)
        free(self.current.items)
        free(self.sequence.items)
        free(self.found)
        self.header.items = self.address.items = NULL
        self.order.items = self.current.items = self.sequence.items = NULL
        self.found = NULL
        self.header.capacity = self.address.capacity = self.found_capacity = 0
        self.order.capacity = self.current.capacity = self.sequence.capacity = 0

    # The header: from tokens to addresses, right to left

    cdef int parse(self) except -1:
        cdef Py_ssize_t at = self.header.count - 1
        cdef bint word = True  # a word may go on with the address
        cdef bint group = False  # a colon ends a group's name
        cdef int kind
        while at >= 0:
            kind = self.header.items[at].kind
            if kind == 62:  # >
                at = self.parse_angle(at)
                if at >= 0 and self.header.items[at].kind == 58 and not group:
                    indices_add(&self.order, at)
                    at -= 1
                word = True
                continue
            if kind == 58 and group:
                at = self.pass_group(at)
                continue
            if kind == COMMENT:
                indices_add(&self.order, at)
            elif kind == 59 or kind == 44:  # ; ,
                self.close_address(kind == 59)
                indices_add(&self.order, at)
                word = True
                group |= kind == 59
            else:
                if kind >= 256 and not word:
                    self.close_address(True)
                indices_add(&self.current, at)
                word = kind < 256
            at -= 1
        return self.close_address(False)

    cdef Py_ssize_t parse_angle(self, Py_ssize_t at) except -2:
        """From > over the address to < and the phrase before it; where the phrase ends."""
        self.close_address(True)
        indices_add(&self.order, at)
        at -= 1
        while at >= 0 and self.header.items[at].kind != 60:
            indices_add(&self.order if self.header.items[at].kind == COMMENT else &self.current, at)
            at -= 1
        self.close_address(False)
        while at >= 0 and self.header.items[at].kind not in (62, 59, 44, 58):
            indices_add(&self.order, at)
            at -= 1
        return at

    cdef Py_ssize_t pass_group(self, Py_ssize_t at) except -2:
        """Over the name of a group, to the comma before it."""
        self.close_address(False)
        self.header.items[at].kind = START_GROUP
        indices_add(&self.order, at)
        at -= 1
        while at >= 0 and self.header.items[at].kind != 44:
            indices_add(&self.order, at)
            at -= 1
        return at

    cdef int close_address(self, bint comma) except -1:
        cdef Py_ssize_t first, i
        if self.current.count == 0:
            return 0
        indices_add(&self.order, END)
        first = self.order.count
        for i in range(self.current.count):
            indices_add(&self.order, self.current.items[i])
        self.note_address(self.order.count - 1, first)
        indices_add(&self.order, BEGIN)
        self.current.count = 0
        return indices_add(&self.order, COMMA) if comma else 0

    cdef int note_address(self, Py_ssize_t first, Py_ssize_t last) except -1:
        cdef Py_ssize_t capacity
        cdef Found *grown
        if self.found_count == self.found_capacity:
            capacity = self.found_capacity * 2 or 16
            grown = <Found *>realloc(self.found, capacity * sizeof(Found))
            if grown == NULL:
                raise MemoryError
            self.found, self.found_capacity = grown, capacity
        self.found[self.found_count].first, self.found[self.found_count].last = first, last
        self.found_count += 1
        return 0

    # One address

    cdef int rewrite_address(self, Found *one, object mapper) except -1:
        """Complete it, map it, keep what it became in `results`; 1 when it is another."""
        cdef bint changed = False
        cdef Py_ssize_t i = one.first
        cdef Token *token
        cdef bytes before, after
        self.source.size = 0
        while i >= one.last:
            token = &self.header.items[self.order.items[i]]
            write_token(&self.source, &self.header, token, self.complete)
            if token.kind == 44 and self.complete:
                buffer_byte(&self.source, 32)
            i -= 1
        self.result.size = 0
        if self.complete and self.source.size:
            self.complete_address()
            changed = self.result.size != self.source.size or (
                memcmp(self.result.data, self.source.data, self.source.size) != 0)
        elif self.source.size:
            write_quoted_local(&self.result, self.source.data, self.source.size)
        one.start = self.results.size
        if mapper is None or (self.result.size and self.result.data[self.result.size - 1] == 64):
            # `user@` is in no table
            buffer_append(&self.results, self.result.data, self.result.size)
        else:
            before = buffer_object(&self.result) if self.result.size else b""
            after = mapper(before)
            changed |= after != before
            buffer_append(&self.results, <bytes_ptr>after, len(after))
        one.size = self.results.size - one.start
        return changed

    cdef int complete_address(self) except -1:
        """From `source` to `result`: what trivial-rewrite(8) answers."""
        self.address.count = self.address.text.size = 0
        scan(&self.address, self.source.data, self.source.size, 0)
        self.order_sequence()
        self.write_meaning()
        self.result.size = 0
        return write_quoted_local(&self.result, self.lines.data, self.lines.size)

    cdef int order_sequence(self) except -1:
        cdef Token *tokens = self.address.items
        cdef Py_ssize_t count = self.address.count, first = 0, i, split
        self.sequence.count = 0
        if count == 1 and tokens[0].kind == QUOTED and tokens[0].size == 0:
            return indices_add(&self.sequence, 0)
        if count == 1 and tokens[0].kind == 64:
            tokens[0].kind = QUOTED
            return indices_add(&self.sequence, 0)
        if count and tokens[0].kind == 64:
            for i in range(count - 1):
                if tokens[i].kind == 58:  # a source route
                    first = i + 1
                    break
        for i in range(first, count):
            indices_add(&self.sequence, i)
        if self.find_last(64) < 0:
            self.add_domain()
        i = self.find_last(64)
        if self.domain and 0 <= i < self.sequence.count - 1 and self.find(LITERAL, i) < 0 and self.find(46, i) < 0:
            tokens_add(&self.address, 46)
            indices_add(&self.sequence, self.address.count - 1)
            self.append_name(self.domain)
        tokens = self.address.items
        count = self.sequence.count
        if count > 1 and tokens[self.sequence.items[count - 1]].kind == 46:
            split = tokens[self.sequence.items[count - 2]].kind
            if split != 46 and split != 64:
                self.sequence.count -= 1
        return 0

    cdef int add_domain(self) except -1:
        """There is no @: site!user, or user%site, or our own domain."""
        cdef Py_ssize_t bang = self.find(33, 0) if self.swap_bangpath else -1
        cdef Py_ssize_t percent, i
        cdef Py_ssize_t count = self.sequence.count
        if bang >= 0:
            tokens_add(&self.address, 64)
            # the sequence becomes: what is behind the bang, the @, what is before it
            for i in range(bang + 1, count):
                self.address.items[self.sequence.items[i]].close = bang == 0
                indices_add(&self.sequence, self.sequence.items[i])
            indices_add(&self.sequence, self.address.count - 1)
            for i in range(bang):
                indices_add(&self.sequence, self.sequence.items[i])
            for i in range(count, self.sequence.count):
                self.sequence.items[i - count] = self.sequence.items[i]
            self.sequence.count -= count
            return 0
        percent = self.find_last(37) if self.percent_hack else -1
        if percent >= 0:
            self.address.items[self.sequence.items[percent]].kind = 64
        elif self.origin:
            tokens_add(&self.address, 64)
            indices_add(&self.sequence, self.address.count - 1)
            self.append_name(self.origin)
        return 0

    cdef int append_name(self, bytes name) except -1:
        cdef Py_ssize_t i = self.address.count
        scan(&self.address, <bytes_ptr>name, len(name), 0)
        for i in range(i, self.address.count):
            indices_add(&self.sequence, i)
        return 0

    cdef Py_ssize_t find(self, int kind, Py_ssize_t start) noexcept:
        cdef Py_ssize_t i
        for i in range(start, self.sequence.count):
            if self.address.items[self.sequence.items[i]].kind == kind:
                return i
        return -1

    cdef Py_ssize_t find_last(self, int kind) noexcept:
        cdef Py_ssize_t i = self.sequence.count - 1
        while i >= 0 and self.address.items[self.sequence.items[i]].kind != kind:
            i -= 1
        return i

    cdef int write_meaning(self) except -1:
        """The sequence as it is meant, into `lines`, which nobody uses before render()."""
        cdef Py_ssize_t i
        cdef Token *token
        self.lines.size = 0
        for i in range(self.sequence.count):
            token = &self.address.items[self.sequence.items[i]]
            write_token(&self.lines, &self.address, token, False)
            if i + 1 < self.sequence.count and needs_space(token, &self.address.items[self.sequence.items[i + 1]]):
                buffer_byte(&self.lines, 32)
        return 0

    # The header anew

    cdef int requote(self, Found *one) except -1:
        """What the address became, scanned and quoted once more, into `result`."""
        cdef Py_ssize_t i
        self.address.count = self.address.text.size = self.sequence.count = 0
        scan(&self.address, self.results.data + one.start, one.size, 0)
        for i in range(self.address.count):
            indices_add(&self.sequence, i)
        self.write_meaning()
        self.result.size = 0
        return write_quoted_local(&self.result, self.lines.data, self.lines.size)

    cdef int kind_at(self, Py_ssize_t at) noexcept:
        cdef Py_ssize_t index = self.order.items[at]
        if index == BEGIN:
            return ATOM
        return 44 if index == COMMA else self.header.items[index].kind

    cdef int render(self) except -1:
        """The value into `rendered`, a line feed after each comma."""
        cdef Py_ssize_t at = self.order.count - 1, number = self.found_count, start = 0, size = 0
        cdef int kind
        cdef Found *one = NULL
        cdef bint has_address = False
        self.rendered.size = 0
        while at >= 0:
            kind = self.kind_at(at)
            if kind == 44:
                self.strip(has_address, start, size, one)
                buffer_append(&self.rendered, <bytes_ptr>b",\n", 2)
                at -= 1
                start, size, has_address, one = self.rendered.size, 0, False, NULL
                continue
            if self.order.items[at] == BEGIN:
                number -= 1
                one = &self.found[number]
                self.requote(one)
                buffer_append(&self.rendered, self.result.data, self.result.size)
                has_address, size = True, self.result.size
                at = one.last - 2
            else:
                write_token(&self.rendered, &self.header, &self.header.items[self.order.items[at]], True)
                at -= 1
                if kind == 60 and at >= 0 and self.kind_at(at) == 62:
                    has_address, size, one = True, 0, NULL
            if at >= 0 and is_spaced(kind, self.kind_at(at)):
                buffer_byte(&self.rendered, 32)
        return self.strip(has_address, start, size, one)

    cdef int strip(self, bint has_address, Py_ssize_t start, Py_ssize_t size, Found *one) except -1:
        """Too much beside one address: only the address stays (against a Sendmail overflow, CA-2003-07)."""
        if not has_address or self.rendered.size - size <= start + MOST_BESIDE:
            return 0
        self.rendered.size = start
        buffer_byte(&self.rendered, 60)
        if one != NULL:
            self.requote(one)
            buffer_append(&self.rendered, self.result.data, self.result.size)
        return buffer_byte(&self.rendered, 62)

    def rewrite_header(self, bytes name not None, bytes value not None, bint is_sender):
        """For tests and slow paths: the whole header with its CRLF, or None when nothing changes."""
        cdef ByteBuffer out
        buffer_init(&out)
        try:
            if not self.rewrite(<bytes_ptr>name, len(name), <bytes_ptr>value, len(value), is_sender, &out):
                return None
            return buffer_object(&out)
        finally:
            buffer_free(&out)


cdef int fold(bytes_ptr name, Py_ssize_t name_size, bytes_ptr text, Py_ssize_t size, ByteBuffer *out) except -1:
    """`name: text` in lines of up to 70 bytes where commas let it; lines that go on begin with a tab."""
    cdef bytes_ptr end = text + size
    cdef bytes_ptr feed
    cdef Py_ssize_t length, line = name_size + 2
    cdef bint first = True
    buffer_append(out, name, name_size)
    buffer_append(out, <bytes_ptr>b": ", 2)
    while True:
        feed = <bytes_ptr>memchr(text, 10, end - text) if text < end else NULL
        length = (end if feed == NULL else feed) - text
        if first:
            line += length
        elif line + 1 + length < LINE:
            buffer_byte(out, 32)
            line += 1 + length
        else:
            buffer_append(out, <bytes_ptr>b"\r\n", 2)
            if length == 0 or (text[0] != 32 and text[0] != 9):
                buffer_byte(out, 9)
            line = length
        buffer_append(out, text, length)
        first = False
        if feed == NULL:
            return buffer_append(out, <bytes_ptr>b"\r\n", 2)
        text = feed + 1
