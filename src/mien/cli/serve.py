"""`mien serve`: answer over HTTP and WebSocket, with a page for the browser."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from mien.cli.exits import GOOD, require_extra, say
from mien.cli.options import (
    add_answers,
    add_device,
    add_model,
    add_over_time,
    over_time_arguments,
    say_device,
)
from mien.errors import ConfigError


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb. Its limits are the fields of `mien.server.settings.Settings`."""
    from mien.server.settings import Settings, default_data, limits, option

    parser = verbs.add_parser(
        "serve",
        help="answer over HTTP and WebSocket, with a page for the browser",
        description="Answer over HTTP and WebSocket, with a page for the browser. MIEN_API_KEY in "
        "the environment is the key that clients must show.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (127.0.0.1)")
    add("--port", type=int, default=8080, metavar="N", help="on which port (8080); 0: a free one")
    add_model(parser)
    add_answers(parser)
    add_over_time(parser)
    add_device(parser)
    add(
        "--data",
        type=Path,
        default=default_data(),
        metavar="DIR",
        help="folder for videos and their results (%(default)s)",
    )
    add(
        "--anonymize",
        action="store_true",
        help="hide the faces in the annotated copies of all videos, asked for or not",
    )
    add("--insecure", action="store_true", help="listen to others without a key")
    add(
        "--allow-origin",
        action="append",
        default=[],
        metavar="URL",
        help="a site whose pages may talk to this server, as https://example.org; repeatable",
    )
    add("--certificate", type=Path, metavar="FILE", help="for TLS, PEM")
    add("--certificate-key", type=Path, metavar="FILE", help="its key, if in a file of its own")
    for limit, about in limits().items():
        default = getattr(Settings, limit)
        add(
            option(limit),
            type=type(default),
            default=default,
            metavar="N",
            help=f"{about} ({default:,})",
        )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    require_extra(
        "server", "fastapi", "uvicorn", "websockets", "python_multipart", "prometheus_client"
    )
    if options.data is None:
        raise ConfigError(
            "--data: this user has no home folder, in whose cache videos would lie. Give a folder"
        )
    from mien.pipeline import Analyzer
    from mien.server.serving import Server, Tls
    from mien.server.settings import Settings, is_loopback, limits

    loopback = is_loopback(options.host)
    settings = Settings(
        data=options.data,
        key=os.environ.get("MIEN_API_KEY", ""),
        origins=tuple(options.allow_origin),
        loopback=loopback,
        anonymize=options.anonymize,
        **{limit: getattr(options, limit) for limit in limits()},
    )
    if not (loopback or settings.key or options.insecure):
        raise ConfigError(
            f"--host {options.host}: others can reach it, and no key is set. Set MIEN_API_KEY, or "
            "say --insecure"
        )
    if options.certificate_key and not options.certificate:
        raise ConfigError("--certificate-key: needs --certificate")
    tls = Tls(options.certificate, options.certificate_key) if options.certificate else None
    analyzer = Analyzer(
        options.model,
        classes=options.classes,
        expect=options.expect,
        threads=1,
        device=options.device,
        **over_time_arguments(options),
    )
    say_device(options, analyzer.device)
    server = Server(analyzer, settings, host=options.host, port=options.port, tls=tls)
    say(f"mien: open {server.address}")
    try:
        server.run()
    except KeyboardInterrupt:
        say("mien: ended; videos that were not finished go on at the next start")
    return GOOD
