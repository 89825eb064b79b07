"""The worker's TCP connections: an epoll set of its own beside uvloop's, with a transport that costs little."""
