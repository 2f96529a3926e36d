"""The `fleetcast` command. Every option is a field of a settings model, and so is its variable and its help.

Exit codes: 0 done, 1 it did not work, 2 wrong use or settings, 78 this host's id belongs to another machine,
130 and 143 ended by Ctrl-C and SIGTERM.
"""

import asyncio
import gc
import inspect
import json
import logging
import os
import re
import secrets
import signal
import sys
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args

import typer
from pydantic_core import PydanticUndefined

from common.errors import FleetcastError, HostIdConflictError, SettingsError
from common.settings import (
    VARIABLE_ONLY,
    ClientSettings,
    ContainersCollectorSettings,
    DoctorSettings,
    EdgeSettings,
    ExecutorSettings,
    HealthSettings,
    MetricsCollectorSettings,
    Settings,
    SimulateSettings,
    TokenSettings,
    UpSettings,
    WorkerSettings,
)
from common.telemetry import configure_logging, serve_metrics

if TYPE_CHECKING:  # the protocol's models take a while to build, and most commands, a health check say, need none
    from common.protocol import Role

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
        if name in VARIABLE_ONLY:
            continue
        annotation = _switch(model, name) if field.default is False else _option(model, name)
        options.append(_parameter(name, annotation, None))
    parameters = [*first, *options]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def _option(model: type[Settings], name: str) -> Any:
    """Its value stays text: the model reads it, so that options and variables are judged by the same rules."""
    field = model.model_fields[name]
    known = field.default not in (None, "", PydanticUndefined)
    option = typer.Option(
        model.option(name),
        help=f"{field.description} Default: {field.default}." if known else field.description,
        metavar=_metavar(field.annotation),
        envvar=model.variable(name),
    )
    return Annotated[str | None, option]


def _switch(model: type[Settings], name: str) -> Any:
    """An option without a value. Its variable is left to the model, by the same rules."""
    text = f"{model.model_fields[name].description} [env var: {model.variable(name)}]"
    return Annotated[bool | None, typer.Option(model.option(name), help=text)]


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


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


def _edge(settings: EdgeSettings) -> int | None:
    configure_logging(settings.log_level, "edge", settings.worker_number)
    if settings.workers > 1 and settings.worker_number is None:
        from services.edge_workers import run_edge_workers

        return run_edge_workers(settings)
    from services.edge.server import run_edge

    run_edge(settings)
    return None


def _up(settings: UpSettings) -> int:
    from services.local import run_up

    configure_logging(settings.log_level, "up")
    return asyncio.run(run_up(settings))


def _simulate(settings: SimulateSettings) -> int:
    from services.collector.simulator.run import run_simulation

    configure_logging(settings.log_level, "simulate")
    if settings.log_level == "info":  # of its two thousand workers, each would say what it does
        logging.getLogger("common.worker").setLevel(logging.WARNING)
    # What is there then stays: looking through all of it for garbage, again and again, would hold everyone up.
    return asyncio.run(_until_signal(lambda: run_simulation(settings, at_work=gc.freeze)))


_SIMULATE = """Publish a fleet that does not exist: hosts with metrics, containers, usage and events, for
demonstrations, benchmarks and tests of scale. To edges and clients they are hosts like others, but that nothing can be
done to their containers. They are gone from the moment this ends.

Give it the Redis of an edge in --redis. `fleetcast simulate --hosts 500 --containers 40` takes about half a core while
somebody watches all of it, an eighth else. A host id that somebody else uses is refused: choose another --prefix."""

_add(app, "up", UpSettings, _up, "Run everything on this machine, with a Redis of its own, and show where the page is.")
_add(app, "edge", EdgeSettings, _edge, "Serve the page and WebSocket clients; any number of edges share the work.")
_add(collector, "metrics", MetricsCollectorSettings, _collector_metrics, "Publish this host's metrics.")
_add(collector, "containers", ContainersCollectorSettings, _collector_containers, "Publish this host's containers.")
_add(app, "executor", ExecutorSettings, _executor, "Do the container actions that are asked of this host.")
_add(app, "simulate", SimulateSettings, _simulate, _SIMULATE)


# The clients


def _watch(channels: list[str], json_lines: bool, **given: Any) -> None:
    """Show the live feed: tables of hosts and of containers with what they use, and the last events with who caused
    them, refreshed up to four times a second. Values that are not live are grey, with their age and the reason; a host
    that may be off is shown as off.

    CHANNEL is hosts, metrics, containers, usage, events or processes, each alone or for one host as processes:HOST;
    without any, all of these but processes. Where standard output is no terminal, it prints a line for each change and
    event instead, and each host's numbers every 10 s, but no usage and no processes; with --json, every message as it
    came, one a line. It reconnects by itself and ends with Ctrl-C.
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


def _audit(
    host: str | None,
    actor: str | None,
    container: str | None,
    limit: int,
    before: str | None,
    json_lines: bool,
    **given: Any,
) -> None:
    """Show who did what to which container, when, from which edge and with what outcome; the newest first.

    Takes an admin's token where the edge wants a sign-in, and shows the hosts that it is for. An action stands in the
    audit once it has ended, whatever came of it. Where standard output is no terminal, it prints a line for each; with
    --json, all that is known of each, one a line.

    `fleetcast audit --actor ann --before 12h` is what ann did until twelve hours ago, and `fleetcast audit --host web-1
    --container nginx --limit 500` the history of one container.
    """
    from services.client.audit import parse_query, run_audit

    settings = ClientSettings.load(given)
    configure_logging(settings.log_level, "audit")
    query = parse_query(host, actor, container, before, limit, datetime.now().astimezone())
    raise typer.Exit(run_audit(settings, query, json_lines))


_JSON = _parameter("json_lines", Annotated[bool, typer.Option("--json", help="Raw messages, one a line.")], False)

_take_options(
    _watch,
    ClientSettings,
    [
        _parameter(
            "channels",
            Annotated[
                list[str] | None,
                typer.Argument(metavar="[CHANNEL]...", help="Default: hosts metrics containers usage events."),
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
_take_options(
    _audit,
    ClientSettings,
    [
        _parameter("host", Annotated[str | None, typer.Option(help="Only this host.", metavar="HOST")], None),
        _parameter("actor", Annotated[str | None, typer.Option(help="Only what this user did.", metavar="USER")], None),
        _parameter(
            "container",
            Annotated[
                str | None, typer.Option(help="Only this one: its name, its id or the beginning of it.", metavar="NAME")
            ],
            None,
        ),
        _parameter("limit", Annotated[int, typer.Option(help="How many at most.", metavar="NUMBER")], 50),
        _parameter(
            "before",
            Annotated[
                str | None,
                typer.Option(
                    help="Only what had ended by then: 2026-07-01T12:00, local time, or 15m, 12h, 30d ago.",
                    metavar="TIME",
                ),
            ],
            None,
        ),
        _parameter(
            "json_lines", Annotated[bool, typer.Option("--json", help="As the edge has them, one a line.")], False
        ),
    ],
)
app.command("watch")(_watch)
app.command("act")(_act)
app.command("audit")(_audit)


# Sign-in, keys and health


def _secret(file: Annotated[Path, typer.Argument(metavar="FILE")]) -> None:
    """Make the secret that sign-in tokens are made with, and leave it alone where it is there already.

    Give the same FILE to every edge with --jwt-secret-file or FLEETCAST_JWT_SECRET_FILE. Whoever can read it can sign
    in as anybody.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
            made.write(secrets.token_urlsafe(48) + "\n")
    except FileExistsError:
        typer.echo(f"{file} is there already: left as it is", err=True)
    except OSError as error:
        raise SettingsError("FILE", f"cannot write {file} ({error.strerror})") from None


def _token(sub: str, role: str, hosts: list[str] | None, ttl: str, **given: Any) -> None:
    """Make a sign-in token and print it. Needs the edges' secret: FLEETCAST_JWT_SECRET or a file that holds it.

    A viewer sees, an operator acts too, an admin sees the audit too. --hosts takes selectors such as 'web-*' and may be
    given several times; without it the token is for every host.
    """
    from common.tokens import make_token, resolve_secret

    secret = resolve_secret(TokenSettings.load(given))
    if secret is None:
        raise SettingsError("FLEETCAST_JWT_SECRET", "not set: use the secret that the edges have, or its file")
    typer.echo(make_token(secret, sub, _role(role), _seconds(ttl), hosts or ()))


def _role(role: str) -> "Role":
    from common.protocol import Role

    for known in get_args(Role):
        if role == known:
            return cast(Role, known)
    raise SettingsError("--role", f"{role!r:.40} is none of {', '.join(get_args(Role))}")


def _seconds(ttl: str) -> int:
    """`90s`, `15m`, `12h`, `30d`."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", ttl)
    if not found or not int(found[1]):
        raise SettingsError("--ttl", f"{ttl!r:.40} is no time: write 15m, 12h or 30d")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


_take_options(
    _token,
    TokenSettings,
    [
        _parameter("sub", Annotated[str, typer.Option(help="Who it is for; stands in the audit.")]),
        _parameter("role", Annotated[str, typer.Option(help="viewer, operator or admin.")], "viewer"),
        _parameter(
            "hosts", Annotated[list[str] | None, typer.Option(help="Hosts it is for; default: every one.")], None
        ),
        _parameter("ttl", Annotated[str, typer.Option(help="How long it is good: 15m, 12h, 30d.")], "12h"),
    ],
)
app.command("secret")(_secret)
app.command("token")(_token)


def _keys(
    signing: Annotated[Path, typer.Argument(metavar="SIGNING")],
    verify: Annotated[Path, typer.Argument(metavar="VERIFY")],
) -> None:
    """Make the pair of keys that actions are signed and verified with, and print the public one's line. What is there
    already is left as it is.

    SIGNING is the private key's file, for edges alone: --action-signing-key-file or FLEETCAST_ACTION_SIGNING_KEY_FILE.
    Whoever can read it can act on every host. VERIFY is the public key's file, for executors, and no secret:
    --action-verify-key-file or FLEETCAST_ACTION_VERIFY_KEY_FILE, or its line in FLEETCAST_ACTION_VERIFY_KEY.

    To change the pair, make another one beside it. Give every executor both public keys, one after the other, and
    restart it; then give the edges the new private key; then take the old public key away from the executors.
    """
    from common.signing import make_pair

    there = [file for file in (signing, verify) if os.path.exists(file)]
    line = make_pair(signing, verify)
    for file in (signing, verify):
        typer.echo(f"{file} is there already: left as it is" if file in there else f"made {file}", err=True)
    typer.echo(line)


app.command("keys")(_keys)


def _health(part: str, **given: Any) -> None:
    """Ask a part of this machine whether it does its job: edge, collector or executor. Exit code 0 if it does, else 1
    and a line that says why.

    An edge is asked on its port of loopback; the workers write a file into --run-dir with every beat.
    """
    from services.health import why_not_healthy

    problem = why_not_healthy(part, HealthSettings.load(given))
    if problem is not None:
        _complain(problem)
    raise typer.Exit(0 if problem is None else 1)


_take_options(
    _health, HealthSettings, [_parameter("part", Annotated[str, typer.Argument(metavar="edge|collector|executor")])]
)
app.command("health")(_health)


def _doctor(json_lines: bool, **given: Any) -> None:
    """Look at what Fleetcast needs on this machine, and say what to do about what is wrong: settings, Redis and how
    well it keeps what it is told, the clocks, the Docker engine, who works for this host, keys and whether they belong
    together, an edge.

    Run it where a part runs, with that part's settings: `docker compose exec executor fleetcast doctor` in the cluster
    of compose.yaml. Beside a `fleetcast up` it looks at that one's Redis. It changes nothing. Exit code 0 where nothing
    has failed, else 1; a warning is no failure.
    """
    from services.doctor.run import run_doctor

    settings = DoctorSettings.load(given)
    configure_logging(settings.log_level, "doctor")
    raise typer.Exit(run_doctor(settings, given, json_lines))


_take_options(
    _doctor,
    DoctorSettings,
    [
        _parameter(
            "json_lines", Annotated[bool, typer.Option("--json", help="What is found as JSON, one a line.")], False
        )
    ],
)
app.command("doctor")(_doctor)


@app.command()
def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="As docs/PROTOCOL.md instead of JSON Schema.")] = False,
) -> None:
    """Print the protocol as JSON Schema: the WebSocket's messages, and what the HTTP routes take and answer."""
    from common.protocol_text import protocol_markdown
    from common.schema import json_schema

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
