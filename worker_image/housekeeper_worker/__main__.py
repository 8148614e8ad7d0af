"""`python -m housekeeper_worker`: a worker in its pod."""

from housekeeper_worker.entry import main

main()
