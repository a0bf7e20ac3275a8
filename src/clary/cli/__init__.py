"""The command line. Every command is a module, imported only when it is run."""

from __future__ import annotations

import importlib

import click

_COMMANDS = {
    "up": "Start the platform.",
    "down": "Stop the platform.",
    "status": "Show whether the platform runs, and what runs on it.",
    "run": "Run a program against the platform.",
    "env": "Print the environment that points clients at the platform.",
    "configure": "Write an AWS profile for the platform.",
    "jobs": "List, show, watch and stop training jobs.",
    "spot": "Take the instance of a spot job away.",
    "logs": "Show the log of a training job or an endpoint.",
    "endpoint": "Test an endpoint.",
    "replay": "Send captured requests again and compare the answers.",
    "doctor": "Check this machine and the platform, or a model before it is deployed.",
    "hook": "Install or remove the Python client hook.",
    "credentials": "Print credentials for credential_process.",
}
_HIDDEN = ("credentials",)


class _Lazy(click.Group):
    """Knows the commands' names and summaries, and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in _COMMANDS if name not in _HIDDEN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, about in _COMMANDS.items() if name not in _HIDDEN])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], _COMMANDS, 1)
            if near:
                raise click.UsageError(f"{error.message} Did you mean '{near[0]}'?", ctx) from None
            raise


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        from .. import __version__

        click.echo(f"clary {__version__}")
        ctx.exit()


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def main() -> None:
    """Clary runs your SageMaker code on your own machine.

    \b
    Begin with:
      clary up -d                  start the platform in the background
      clary run -- python my.py    run unmodified SageMaker code against it
      clary down                   stop it
    """
