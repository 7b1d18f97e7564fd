"""The command `sfe`: its parser, and what becomes of errors.

    0    done
    2    a mistake of the caller's, told in one sentence on stderr
    130  interrupted

Anything else is a bug and keeps its traceback. Modules of commands import torch and pictures only
when they run, so that help and mistakes come at once.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from stylefeatureeditor import __version__
from stylefeatureeditor.cli.output import say_error
from stylefeatureeditor.errors import SfeError

if TYPE_CHECKING:
    from stylefeatureeditor.cli.options import Parser

MISTAKE, INTERRUPTED = 2, 130
# What a path or a disk may answer to any question; other OSErrors are bugs.
REFUSALS = frozenset(
    [errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOSPC, errno.EROFS]
)


def build_parser() -> Parser:
    """Return the parser of `sfe` with all its commands."""
    # here, so that Ctrl-C during the imports is told as any other
    from stylefeatureeditor.cli import (
        align,
        app,
        compare,
        directions,
        doctor,
        edit,
        evaluate,
        export,
        invert,
        mix,
        models,
        serve,
        train,
        video,
    )
    from stylefeatureeditor.cli.options import Parser

    parser = Parser(
        prog="sfe",
        description="Edit faces in real photos through StyleGAN2 and keep their detail.",
        epilog="example:  sfe edit portrait.jpg -e smile=2 -e age=-2 -o out.png",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sfe {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    photos = edit, invert, align, mix, video, compare, app, serve
    for group in (*photos, directions, models, train, evaluate, export, doctor):
        group.add_to(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    if logging.lastResort is not None:  # where a command sets up no log, warnings look like ours
        logging.lastResort.setFormatter(logging.Formatter("sfe: warning: %(message)s"))
    try:
        code = _run(words or ["--help"])
        sys.stdout.flush()  # here, so that a reader who has left shows now
    except SfeError as error:
        say_error(error)
        return MISTAKE
    except KeyboardInterrupt:
        say_error("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        with suppress(OSError, ValueError):  # or Python complains when it flushes at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        say_error(f"{error.filename or 'a file'} cannot be used: {error.strerror}")
        return MISTAKE
    return code


def _run(words: list[str]) -> int:
    parser = build_parser()
    try:
        args, rest = parser.parse_known_args(words)
    except SystemExit as end:  # --help and --version
        return end.code if isinstance(end.code, int) else 0
    if getattr(args, "takes_settings", False):
        args.settings = rest  # --loop.steps 100 and the like, which `sfe train` reads itself
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return args.run(args)
