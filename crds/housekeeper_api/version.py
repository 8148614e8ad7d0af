"""Which release this is. Written here, because asking the installed package costs a worker's start 30 ms."""

from typing import Final

RELEASE: Final = "0.1.0"
