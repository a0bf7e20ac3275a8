"""Write the pages that follow from the code – coverage, settings, command line, state pictures – or check them.

python docs/generate.py            write
python docs/generate.py --check    fail when a page is stale
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import click

from clary.provider.operation import Provider
from clary.services._catalogue import services
from clary.settings import Settings

REFERENCE = Path(__file__).parent / "reference"
_HEADING = "<!-- Written by docs/generate.py; do not edit. -->\n\n"


def providers() -> list[Provider]:
    """Every service with its operations bound."""
    return sorted((service.provider for service in services()), key=lambda provider: provider.name)


def coverage() -> str:
    """Operations served, by service."""
    lines = [
        "# Coverage\n",
        "Operations that Clary serves. Every other operation answers with an error that names it.\n",
    ]
    lines += ["| service | served | of |", "| --- | ---: | ---: |"]
    found = providers()
    lines += (f"| {p.name} | {len(p.handlers)} | {len(p.model.operations)} |" for p in found)
    for provider in found:
        lines.append(f"\n## {provider.name}\n")
        lines.append(", ".join(f"`{name}`" for name in sorted(provider.handlers)))
        missing = sorted(set(provider.model.operations) - set(provider.handlers))
        if missing:
            lines.append(f"\n<details><summary>Not served yet: {len(missing)}</summary>\n")
            lines.append(", ".join(f"`{name}`" for name in missing))
            lines.append("\n</details>")
    return "\n".join(lines) + "\n"


def settings() -> str:
    """Every setting, its variable and its default."""
    lines = ["# Settings\n", "Each is read from its environment variable; options of `clary up` override some.\n"]
    for spec in fields(Settings):
        default = spec.default if spec.default != "" else "(empty)"
        lines += [f"## `CLARY_{spec.name.upper()}`\n", f"{spec.metadata['about']} Default: `{default}`.\n"]
    lines += [
        "## Client-side variables\n",
        "`CLARY_ENDPOINT` switches the Python client hook on (`clary env` and `clary run` set it); `CLARY_CLIENT_HOOK=0` "
        "switches it off; `CLARY_FAST_POLLING=0` leaves the SDKs' sleeping alone.\n",
        "## Compiled modules\n",
        "`CLARY_COMPILED=0` has the data plane run as it is written, also where it was compiled (`make setup` does that "
        "where there is a C compiler). Its log says which it is when it starts.\n",
    ]
    return "\n".join(lines)


def command_line() -> str:
    """The help of every command."""
    from clary.cli import _COMMANDS, _HIDDEN, main

    lines = ["# Command line\n"]
    with click.Context(main, info_name="clary") as top:
        lines += ["## clary\n", "```text", main.get_help(top), "```\n"]
        for name in _COMMANDS:
            if name in _HIDDEN:
                continue
            command = import_module(f"clary.cli.{name}").command
            with click.Context(command, info_name=name, parent=top) as context:
                lines += [f"## clary {name}\n", "```text", command.get_help(context), "```\n"]
                for part, inner in getattr(command, "commands", {}).items():
                    with click.Context(inner, info_name=part, parent=context) as below:
                        lines += [f"### clary {name} {part}\n", "```text", inner.get_help(below), "```\n"]
    return "\n".join(lines)


def states() -> str:
    """The state machines, drawn from their tables."""
    from clary.services.sagemaker.endpoints import machine as endpoints
    from clary.services.sagemaker.training import machine as training
    from clary.services.sagemaker.transform import machine as transform

    lines = ["# States\n", "Drawn from the tables in `machine.py` of each resource.\n"]
    for title, table, first in (
        ("Training job", training.NEXT, "Starting"),
        ("Endpoint", endpoints.NEXT, "Launching"),
        ("Transform job", transform.NEXT, "Starting"),
    ):
        lines += [f"## {title}\n", "```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
        lines += (f"    {here} --> {there}" for here, ways in table.items() for there in sorted(ways))
        final = sorted({t for ways in table.values() for t in ways} - {h for h, ways in table.items() if ways})
        lines += (f"    {name} --> [*]" for name in final)
        lines.append("```\n")
    return "\n".join(lines)


def algorithms() -> str:
    """What every built-in algorithm takes and tells, from its declaration."""
    from clary.algorithms.catalogue import algorithms as declared

    lines = ["# Built-in algorithms\n", "From the declarations in `src/clary/algorithms/*/declaration.py`.\n"]
    lines += ["| algorithm | repositories | needs |", "| --- | --- | --- |"]
    found = sorted(declared().values(), key=lambda a: a.title)
    for each in found:
        needs = f"`pip install 'clary[{each.extra}]'`" if each.extra else ""
        lines.append(f"| [{each.title}](#{each.name}) | {_code(each.repositories)} | {needs} |")
    for each in found:
        channels = ", ".join(f"`{c.name}`" if c.required else f"`{c.name}` (optional)" for c in each.channels)
        lines += [
            f'\n## <a name="{each.name}"></a>{each.title}\n',
            f"Channels: {channels}. They hold {_code(each.files)}.",
            f"Requests: {_code(each.requests)}; answers: {_code(each.answers)}.\n",
            "| hyperparameter | takes | default |",
            "| --- | --- | --- |",
        ]
        for name, spec in each.hyperparameters.items():
            default = "**required**" if spec.required else "" if spec.default is None else f"`{spec.default}`"
            lines.append(f"| `{name}` | {spec.kind} in {spec.range} | {default} |".replace("|, ", "\\|, "))
        metrics = sorted({m.name for m in each.metrics})
        lines.append(f"\n<details><summary>Metrics: {len(metrics)}</summary>\n\n{_code(metrics)}\n\n</details>")
    return "\n".join(lines) + "\n"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


PAGES = {
    "algorithms.md": algorithms,
    "coverage.md": coverage,
    "settings.md": settings,
    "command-line.md": command_line,
    "states.md": states,
}


def main() -> int:
    """Write or check; the exit code."""
    check, stale = "--check" in sys.argv, []
    REFERENCE.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        text = _HEADING + make()
        path = REFERENCE / name
        if check and (not path.exists() or path.read_text() != text):
            stale.append(name)
        elif not check:
            path.write_text(text)
    if stale:
        print(f"stale pages in docs/reference: {', '.join(stale)}. Write them with: make docs", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
