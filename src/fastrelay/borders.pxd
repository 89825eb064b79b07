# the order is that of the dataclasses' fields: constructors take it from here


cdef class Recipient:
    cdef public bytes address, original, orcpt
    cdef public int notify


cdef class Envelope:
    cdef public bytes sender
    cdef public list recipients
    cdef public double arrival
    cdef public object size
    cdef public unsigned int flags
    cdef public bytes envid, message_id, client_name, client_address, helo, protocol
    cdef public object notice_of
    cdef public bytes content_filter
    cdef public bint hold
    cdef public tuple expanded


cdef class Route:
    cdef readonly bytes transport, next_hop, recipient


cdef class Outcome:
    cdef public Py_ssize_t recipient
    cdef public object status
    cdef public bytes dsn, text, relay
    cdef public double setup_delay, transmission_delay
    cdef public bytes remote_mta, diagnostic, action
    cdef public bint notice


cdef class QueuedMessage:
    cdef public object entry
    cdef public bytes queue_id
    cdef public Envelope envelope
    cdef public object content, load
    cdef public double activated
    cdef public Py_ssize_t pending


cdef class Delivery:
    cdef public QueuedMessage message
    cdef public bytes transport, next_hop
    cdef public list recipients, addresses
    cdef public double started
