"""What can go wrong, as the reader of the one line on stderr needs it.

ClusterError        the command cannot do what was asked; the message says why and what to do
└── ApiError        the API server answered with a Status that is not a success
"""


class ClusterError(Exception):
    """An expected failure: printed as one line, without a traceback."""


class ApiError(ClusterError):
    """A Status other than success from the API server."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{message} ({code} {reason})")
        self.code = code
        self.reason = reason
        self.message = message
