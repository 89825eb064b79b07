# the order is that of the dataclasses' fields: constructors take it from here


cdef class QueuedMessage:
    cdef public object entry
    cdef public bytes queue_id
    cdef public object envelope, content, load
    cdef public double activated
    cdef public Py_ssize_t pending


cdef class Delivery:
    cdef public object message
    cdef public bytes transport, next_hop
    cdef public list recipients, addresses
    cdef public double started
