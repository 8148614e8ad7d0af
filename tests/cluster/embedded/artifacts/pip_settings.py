"""The machine's own pip settings, handed to image builds: a build must reach the package index as the machine does."""

import configparser
import os

# What decides how the index is reached; anything else of the machine's settings has no place in an image.
_OPTIONS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "proxy",
    "cert",
    "client-cert",
    "timeout",
    "retries",
)
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def effective() -> dict[str, str]:
    """The options in force on this machine, files first, environment over them, as pip itself merges them."""
    home = os.path.expanduser("~")
    configuration_home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    files = [
        "/etc/pip.conf",
        os.path.join(home, ".pip", "pip.conf"),
        os.path.join(configuration_home, "pip", "pip.conf"),
    ]
    if os.environ.get("PIP_CONFIG_FILE"):
        files.append(os.environ["PIP_CONFIG_FILE"])
    parser = configparser.RawConfigParser()
    parser.read(files, encoding="utf-8")
    options: dict[str, str] = {}
    for section in ("global", "install", "wheel"):
        if parser.has_section(section):
            options.update({name.replace("_", "-"): value for name, value in parser.items(section)})
    for name in _OPTIONS:
        value = os.environ.get("PIP_" + name.replace("-", "_").upper())
        if value:
            options[name] = value
    return {name: value for name, value in options.items() if name in _OPTIONS}


def volumes(scratch: str) -> list[str]:
    """Write a pip.conf into `scratch`, and return the read-only mounts (SOURCE:TARGET:ro) that a build step needs.

    Mounted, not copied: nothing of it, nor a password in an index's address, ends up in a layer.
    """
    options = effective()
    sources: set[str] = set()
    for name in ("cert", "client-cert", "find-links"):
        words = options.get(name, "").split()
        present = [word for word in words if not word.startswith("/") or os.path.exists(word)]
        sources.update(word for word in present if word.startswith("/"))
        if present:
            options[name] = "\n".join(present)
        else:
            options.pop(name, None)
    # An index behind the machine's own certificate authority: the base image knows only the public ones.
    if os.path.exists(_AUTHORITIES):
        sources.add(_AUTHORITIES)
    path = os.path.join(scratch, "pip.conf")
    parser = configparser.RawConfigParser()
    parser["global"] = options
    with open(path, "w", encoding="utf-8") as file:
        parser.write(file)
    return [f"{path}:/etc/pip.conf:ro", *(f"{source}:{source}:ro" for source in sorted(sources))]
