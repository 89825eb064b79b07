"""How master and the commands give up: one line for the operator, never a traceback."""


class FatalError(Exception):
    """The environment does not allow it; str() is the line to print after `fatal: `."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status
