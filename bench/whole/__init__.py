"""The whole relay beside Debian's Postfix: source -> relay -> sink. `python -m bench.whole.run --help`."""
