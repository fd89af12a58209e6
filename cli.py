"""The commands. Each hands over to its room at once; how a command ends is decided here, for all of them alike."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
                  help="Views for self-supervised vision, and the methods that train on them.")
ANY_WORDS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@app.callback(invoke_without_command=True)
def front(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from viewmill import __version__

        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command(context_settings=ANY_WORDS, add_help_option=False)
def train(words: Annotated[list[str] | None, typer.Argument(metavar="METHOD data=... [KEY=VALUE]...")] = None) -> int:
    """Pretrain METHOD on images; the same command again goes on where it stopped. `train --help` lists all keys."""
    words = words or []
    if {"--help", "-h"} & set(words) or not words:
        from viewmill.models.training.manual import train_manual

        print(train_manual(next((word for word in words if not word.startswith("-")), None)))
        return 0
    from viewmill.train import run

    return run(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 2 for a user's mistake, 1 for a failure, with one line on stderr."""
    try:
        status = app(args=list(sys.argv[1:] if words is None else words), prog_name="viewmill", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except (Exception, KeyboardInterrupt) as error:
        from viewmill.models.training.errors import verdict

        # The command line's own complaints ("No such command") carry their status and their text apart.
        number, line = verdict(error)
        usage = getattr(error, "format_message", None)
        if usage is not None:
            number, line = 2, f"viewmill: {' '.join(usage().split()).rstrip('.')}; viewmill --help lists what there is"
        print(line, file=sys.stderr, flush=True)
        return number


if __name__ == "__main__":
    sys.exit(main())
