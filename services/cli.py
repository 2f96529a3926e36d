"""The `fleetcast` command. Every option is a field of a settings model, and so is its variable and its help.

Exit codes: 0 done, 1 it did not work, 2 wrong use or settings, 78 this host's id belongs to another machine,
130 and 143 ended by Ctrl-C and SIGTERM.
"""

import asyncio
import inspect
import json
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar

import typer
from pydantic_core import PydanticUndefined

from common.errors import FleetcastError, HostIdConflictError, SettingsError
from common.settings import (
    ClientSettings,
    ContainersCollectorSettings,
    EdgeSettings,
    ExecutorSettings,
    MetricsCollectorSettings,
    Settings,
    UpSettings,
    WorkerSettings,
)
from common.telemetry import configure_logging, serve_metrics

EXIT_USAGE = 2
EXIT_CONFLICT = 78

S = TypeVar("S", bound=Settings)

app = typer.Typer(
    name="fleetcast",
    help="Live metrics and container control for a fleet of Docker hosts, on one page that is true now.",
    epilog="Start with `fleetcast up`: everything on this machine.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
collector = typer.Typer(
    help="What runs on each host to publish its state: metrics and containers, each on its own.", no_args_is_help=False
)
app.add_typer(collector, name="collector")


def _add(group: typer.Typer, name: str, model: type[S], run: Callable[[S], int | None], help_text: str) -> None:
    """Adds a command whose options are the model's fields."""

    def command(**given: Any) -> None:
        settings = model.load(given)
        raise typer.Exit(run(settings) or 0)

    _take_options(command, model, [])
    group.command(name, help=help_text)(command)


def _take_options(command: Callable[..., None], model: type[Settings], first: list[inspect.Parameter]) -> None:
    """Gives a function the model's fields as keyword options, for typer to read."""
    options = []
    for name, field in model.model_fields.items():
        known = field.default not in (None, "", PydanticUndefined)
        option = typer.Option(
            model.option(name),
            help=f"{field.description} Default: {field.default}." if known else field.description,
            metavar=_metavar(field.annotation),
            envvar=model.variable(name),
        )
        # Values stay text: the model reads them, so that options and variables are judged by the same rules.
        annotation = Annotated[str | None, option]
        options.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    parameters = [*first, *options]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def _metavar(annotation: Any) -> str:
    return {int: "NUMBER", float: "NUMBER"}.get(annotation, "TEXT")


# The services


def _run_worker(settings: WorkerSettings, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Runs a host's worker until SIGTERM or Ctrl-C, both of which let it give its lease back."""
    configure_logging(settings.log_level, name)
    serve_metrics(settings.metrics_port)
    return asyncio.run(_until_signal(work))


async def _until_signal(work: Callable[[], Coroutine[Any, Any, None]]) -> int:
    task = asyncio.ensure_future(work())
    received: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        if received:
            raise SystemExit(128 + number)
        received.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
    return 128 + received[0] if received else 0


def _collector_metrics(settings: MetricsCollectorSettings) -> int:
    from services.collector.metrics import run_metrics_collector

    return _run_worker(settings, "collector", lambda: run_metrics_collector(settings))


def _collector_containers(settings: ContainersCollectorSettings) -> int:
    from services.collector.containers import run_containers_collector

    return _run_worker(settings, "collector", lambda: run_containers_collector(settings))


def _executor(settings: ExecutorSettings) -> int:
    from services.executor.worker import run_executor

    return _run_worker(settings, "executor", lambda: run_executor(settings))


def _edge(settings: EdgeSettings) -> None:
    from services.edge.server import run_edge

    configure_logging(settings.log_level, "edge")
    run_edge(settings)


def _up(settings: UpSettings) -> int:
    from services.local import run_up

    configure_logging(settings.log_level, "up")
    return asyncio.run(run_up(settings))


_add(app, "up", UpSettings, _up, "Run everything on this machine, with a Redis of its own, and show where the page is.")
_add(app, "edge", EdgeSettings, _edge, "Serve the page and WebSocket clients; any number of edges share the work.")
_add(collector, "metrics", MetricsCollectorSettings, _collector_metrics, "Publish this host's metrics.")
_add(collector, "containers", ContainersCollectorSettings, _collector_containers, "Publish this host's containers.")
_add(app, "executor", ExecutorSettings, _executor, "Do the container actions that are asked of this host.")


# The clients


def _watch(channels: list[str], json_lines: bool, **given: Any) -> None:
    """Show the live feed: a table of hosts and one of containers, refreshed up to four times a second. Values that
    are not live are grey, with their age and the reason.

    CHANNEL is metrics, containers or hosts, each alone or for one host as metrics:HOST; without any, all three. Where
    standard output is no terminal, it prints a line for each change instead, and each host's numbers every 10 s; with
    --json, every message as it came, one a line. It reconnects by itself and ends with Ctrl-C.
    """
    from services.client.watch import run_watch

    settings = ClientSettings.load(given)
    configure_logging(settings.log_level, "watch")
    raise typer.Exit(asyncio.run(run_watch(settings, channels, json_lines)))


def _act(verb: str, target: str, expires: int, timeout: int | None, json_lines: bool, **given: Any) -> None:
    """Do something to a container and tell what came of it: each step as it is known, exit code 0 only where it
    succeeded, 1 where it did not or nobody can tell, 2 for wrong use.

    VERB is start, stop, restart, kill, pause, unpause or remove. TARGET is HOST/CONTAINER, or CONTAINER alone while
    the fleet has one host; a container by its name, its id or the beginning of it. When the connection breaks it comes
    back and asks what became of the action; it never does it twice.
    """
    from services.client.act import run_act

    settings = ClientSettings.load(given)
    configure_logging(settings.log_level, "act")
    outcome = run_act(settings, verb, target, expires=expires, timeout=timeout, as_json=json_lines)
    raise typer.Exit(asyncio.run(outcome))


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_JSON = _parameter("json_lines", Annotated[bool, typer.Option("--json", help="Raw messages, one a line.")], False)

_take_options(
    _watch,
    ClientSettings,
    [
        _parameter(
            "channels",
            Annotated[
                list[str] | None, typer.Argument(metavar="[CHANNEL]...", help="Default: hosts metrics containers.")
            ],
            None,
        ),
        _JSON,
    ],
)
_take_options(
    _act,
    ClientSettings,
    [
        _parameter("verb", Annotated[str, typer.Argument(metavar="VERB")]),
        _parameter("target", Annotated[str, typer.Argument(metavar="TARGET")]),
        _parameter(
            "expires", Annotated[int, typer.Option(help="Seconds after which it must not begin any more.", min=1)], 30
        ),
        _parameter(
            "timeout", Annotated[int | None, typer.Option(help="Seconds of grace before Docker kills.", min=0)], None
        ),
        _JSON,
    ],
)
app.command("watch")(_watch)
app.command("act")(_act)


@app.command()
def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="As docs/PROTOCOL.md instead of JSON Schema.")] = False,
) -> None:
    """Print the WebSocket protocol as JSON Schema."""
    from common.protocol import json_schema
    from common.protocol_text import protocol_markdown

    typer.echo(protocol_markdown() if markdown else json.dumps(json_schema(), indent=2), nl=not markdown)


def main() -> None:
    """Runs the command; whatever is wrong is told in one line."""
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], prog_name="fleetcast", standalone_mode=False))
    except typer.TyperException as wrong:
        _complain(wrong.format_message())
        sys.exit(EXIT_USAGE)
    except SettingsError as problem:
        _complain(str(problem))
        sys.exit(EXIT_USAGE)
    except HostIdConflictError as conflict:
        _complain(str(conflict))
        sys.exit(EXIT_CONFLICT)
    except FleetcastError as error:
        _complain(str(error))
        sys.exit(1)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)


def _complain(message: str) -> None:
    print(f"fleetcast: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
