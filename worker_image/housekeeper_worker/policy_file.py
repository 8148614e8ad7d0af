"""From a policy file to a task, for the command line.

Reading YAML and validating a resource cost 25 MiB and a fifth of a second that a clean-up has no use for afterwards, so
`load` does it in a child process that ends: this module run as a program.
"""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final, Literal

from housekeeper_api.task import Mode, Task

if TYPE_CHECKING:
    from housekeeper_api.cleanup_policy import CleanupPolicy
    from housekeeper_api.health_check import HealthCheck

Kind = Literal["CleanupPolicy", "HealthCheck"]

RUN_NAME: Final = "command-line"
_MAX_BYTES: Final = 1 << 20


class InvalidFile(ValueError):
    """The file holds no policy that can be carried out. `problems` are sentences."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class UnreadableFile(InvalidFile):
    """Nothing is known of the policy: the file, or who read it, met trouble that may pass."""


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Where a policy is: in the file `name` (`-`: standard input), or in `text`, which messages call `name`."""

    name: str
    text: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """A task, the volumes that a HealthCheck names, and when the policy runs."""

    task: Task
    volumes: tuple[str, ...]
    schedule: str
    """Five fields without `H`; empty where there is none, as with quick rules."""
    starting_deadline: float
    """Seconds after which a slot that could not start is skipped."""
    suspend: bool


def load(source: Source, kind: Kind, mode: Mode | None) -> Loaded:
    """The task of the policy in `source`. `mode` None takes the policy's own. Raises `InvalidFile`."""
    given = None if source.text is None else source.text.encode()
    command = [sys.executable, "-P", "-m", __name__, source.name if given is None else "-", kind, mode or ""]
    child = subprocess.run(  # noqa: S603 - our own interpreter and module
        command, stdout=subprocess.PIPE, input=given, check=False
    )
    try:
        answer = json.loads(child.stdout)
    except ValueError:
        problem = f"{source.name} could not be read: the reader ended with {child.returncode}"
        raise UnreadableFile([problem]) from None
    if "problems" in answer:
        raise (UnreadableFile if answer.get("isUnreadable") else InvalidFile)(
            [f"{source.name}: {problem}" for problem in answer["problems"]]
        )
    return Loaded(
        Task.from_json(answer["task"]),
        tuple(answer["volumes"]),
        answer["schedule"] if source.text is None else "",
        answer["startingDeadline"],
        answer["suspend"],
    )


def _answer(path: str, kind: Kind, mode: Mode | None) -> dict[str, Any]:
    from housekeeper_api.errors import InvalidResource  # noqa: PLC0415 - in the child only, as said above

    try:
        resource = _resource(_document(path), kind)
    except InvalidResource as error:
        return {"problems": list(error.problems)}
    except InvalidFile as error:
        return {"problems": error.problems, "isUnreadable": isinstance(error, UnreadableFile)}
    return _resolved(resource, mode)


def _resource(document: Any, kind: Kind) -> CleanupPolicy | HealthCheck:
    if not isinstance(document, dict):
        raise InvalidFile([f"holds no object; write a {kind}"])
    if document.get("kind") != kind:
        raise InvalidFile([f"kind: is {document.get('kind')!r}, and this command takes a {kind}"])
    if kind == "CleanupPolicy":
        from housekeeper_api.cleanup_policy import CleanupPolicy  # noqa: PLC0415

        return CleanupPolicy.from_object(document)
    from housekeeper_api.health_check import HealthCheck  # noqa: PLC0415

    return HealthCheck.from_object(document)


def _resolved(resource: CleanupPolicy | HealthCheck, mode: Mode | None) -> dict[str, Any]:
    from housekeeper_api.resolve import cleanup_task, health_task, semantic_problems  # noqa: PLC0415
    from housekeeper_api.schedules import resolve  # noqa: PLC0415

    if problems := semantic_problems(resource):
        return {"problems": problems}
    spec, metadata = resource.spec, resource.metadata
    when = {
        "schedule": resolve(
            spec.schedule,
            namespace=metadata.namespace,
            name=metadata.name,
            time_zone=spec.time_zone,
            kind=resource.kind,
        ),
        "startingDeadline": spec.starting_deadline.seconds,
        "suspend": spec.suspend,
    }
    if resource.kind == "CleanupPolicy":
        task = cleanup_task(resource, run=RUN_NAME, attempt=1, mode=mode or resource.spec.mode)
        return {"task": task.to_json(), "volumes": [], **when}
    task = health_task(resource, run=RUN_NAME, attempt=1)
    return {"task": task.to_json(), "volumes": [volume.name for volume in resource.spec.volumes], **when}


def _document(path: str) -> Any:
    """The one YAML document of a file. Raises `InvalidFile`."""
    import yaml  # noqa: PLC0415

    try:
        text = _text(path)
    except OSError as error:
        raise UnreadableFile([f"cannot be read: {error}"]) from error
    except UnicodeDecodeError as error:
        raise InvalidFile([f"cannot be read: {error}"]) from error
    try:
        stream = _Named(text, "standard input" if path == "-" else path)
        documents = [document for document in yaml.load_all(stream, Loader=_strict_loader()) if document is not None]
    except (yaml.YAMLError, ValueError) as error:
        # The second from a word with a tag, or the look of a date, that is none: !!int x, 2024-13-45.
        raise InvalidFile([f"is not YAML: {' '.join(str(error).split())}"]) from error
    except RecursionError:
        raise InvalidFile(["is nested too deeply"]) from None
    if len(documents) != 1:
        raise InvalidFile([f"holds {len(documents)} documents; write exactly one policy in a file"])
    return documents[0]


class _Named(io.StringIO):
    """Text of which YAML's messages can say where it is from."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name


def _text(path: str) -> str:
    if path == "-":
        data = sys.stdin.buffer.read(_MAX_BYTES + 1)
    else:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise InvalidFile([f"is larger than {_MAX_BYTES} bytes, which no policy is"])
    return data.decode()


def _strict_loader() -> Any:
    """YAML's safe loader, which besides refuses a key that is there twice: one of the two would be lost in silence."""
    import yaml  # noqa: PLC0415

    class StrictLoader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[str] = set()
            for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
                if not isinstance(key, yaml.ScalarNode):
                    raise yaml.constructor.ConstructorError(None, None, "found a key that is no word", key.start_mark)
                if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                    raise yaml.constructor.ConstructorError(None, None, f"found {key.value!r} twice", key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    return StrictLoader


if __name__ == "__main__":
    _path, _kind, _mode = sys.argv[1:]
    # `load` is the only caller, and passes a Mode.
    sys.stdout.write(json.dumps(_answer(_path, _kind, _mode or None)))  # type: ignore[arg-type]
