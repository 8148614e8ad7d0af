"""The API of Housekeeper: the resources, and what operator and worker say to each other.

Modules that the worker imports in a pod (`names`, `task`, `result`, `exit_codes`, `durations`, `quantities`) use the
standard library only: pydantic costs a worker 24 MiB and 160 ms before its first decision.
"""
