"""One job: a message's recipients, each once, in order."""

cdef list unique_recipients(list recipients, Py_ssize_t limit)
