"""`sfe serve`: photos edited for other programs, over HTTP."""

from __future__ import annotations

from stylefeatureeditor.cli.app import serve_until_stopped
from stylefeatureeditor.cli.edit import open_editor
from stylefeatureeditor.cli.options import Args, Commands, add_command, add_common, positive

PORT = 8000


def add_to(commands: Commands) -> None:
    """Add `sfe serve`."""
    parser = add_command(
        commands,
        "serve",
        serve_edits,
        text="edit photos for other programs: POST a photo and edits, get the photo\n"
        "POST /edit takes a form; GET /openapi.json describes it, GET /health and /metrics watch "
        "it.",
        example="sfe serve\nsfe serve --host 0.0.0.0 --model my_model --queue 8",
    )
    add_common(parser, "--model", "--method", "--host")
    parser.add_argument("--port", type=int, default=PORT, help="port to listen on (%(default)s)")
    parser.add_argument(
        "--queue",
        type=positive,
        default=16,
        metavar="N",
        help="edits that run or wait; the next request is answered with 429 (%(default)s)",
    )
    parser.add_argument(
        "--upload-mb",
        type=positive,
        default=20,
        metavar="N",
        help="megabytes that a photo's file may have (%(default)s)",
    )
    add_common(parser, "--device", "--backend", "--precision")


def serve_edits(args: Args) -> int:
    """Run `sfe serve` until it is interrupted or asked to end."""
    from stylefeatureeditor.photo.landmarks import get_ready

    get_ready()
    from stylefeatureeditor.web.api import Service, api_app
    from stylefeatureeditor.web.limits import Limits
    from stylefeatureeditor.web.serve import allowed, listening

    limits = Limits(upload_bytes=args.upload_mb * 1_000_000, waiting=args.queue)
    service = Service(open_editor(args), limits, args.model)
    return serve_until_stopped(
        "the service",
        args.host,
        listening(lambda: api_app(service, allowed(args.host)), args.host, args.port),
    )
