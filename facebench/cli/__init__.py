"""The command line: one file per command, each imported only when it is used."""

from __future__ import annotations

import importlib
import os
import sys

import click

from facebench import FacebenchError, __version__

#: Command name to "module:function" below facebench.cli.
COMMANDS = {
    "run": "run:run_command",
    "leaderboard": "leaderboard:leaderboard_command",
    "compare": "compare:compare_command",
    "show": "show:show_command",
    "plot": "plot:plot_command",
    "report": "report:report_command",
    "cost": "cost:cost_command",
    "verify": "verify:verify_command",
    "export": "export:export_command",
    "import": "import_:import_command",
    "codecs": "codecs:codecs_command",
    "metrics": "metrics:metrics_command",
    "data": "data:data_command",
    "study": "study:study_command",
    "train": "train:train_command",
    "encode": "encode:encode_command",
    "decode": "decode:decode_command",
    "check": "check:check_command",
    "new-plugin": "new_plugin:new_plugin_command",
    "cache": "cache:cache_group",
}


class _LazyGroup(click.Group):
    """Imports a command's module when the command is looked up."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"facebench.cli.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from facebench.plugins import unknown

            raise click.UsageError(unknown("command", args[0], COMMANDS))
        return super().resolve_command(ctx, args)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="facebench")
@click.option("--no-plugins", is_flag=True, help="Load only what comes with facebench (also: FACEBENCH_PLUGINS).")
def cli(no_plugins: bool) -> None:
    """A benchmark of face-image codecs at equal bytes."""
    if no_plugins:
        os.environ["FACEBENCH_PLUGINS"] = ""


def main() -> None:
    """Run the command line; an error that the user can act on is one line and exit code 1."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        _fail("interrupted; the same command goes on where it stopped", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (FacebenchError, OSError) as error:
        _fail(" ".join(str(error).split()), 1)
    except KeyboardInterrupt:
        _fail("interrupted; the same command goes on where it stopped", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    said = "".join(sign for sign in message if sign.isprintable())  # a hostile file's names steer no terminal
    print(f"facebench: {said}", file=sys.stderr)
    sys.stderr.flush()
    sys.exit(code)
