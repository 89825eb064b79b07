"""What happens to a message's contents between the client and the queue."""
