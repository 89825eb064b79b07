"""The parts of the receive path that _core.pyx puts in order: rules, lines, and the transaction. Sans I/O."""
