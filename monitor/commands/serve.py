"""`serve`: the dashboard."""

from __future__ import annotations

import logging
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.commands.common import ConfigOption, StateOption, begin_logging, open_config, say
from monitor.host.clock import utc_now
from monitor.jobs.backups import backups_in
from monitor.jobs.free_space import free_bytes
from monitor.jobs.plan_grounds import check_grounds
from monitor.jobs.plan_views import picture_of
from monitor.jobs.registered_views import shift_between
from monitor.jobs.withdrawal import take_back_from
from monitor.record.store import Store

if TYPE_CHECKING:
    from monitor.config import Config
    from monitor.outlets.dashboard.health import Health


def _health(config: Config, store: Store) -> Health:
    from monitor.outlets.dashboard.health import Health
    from monitor.outlets.metrics import Metrics

    metrics = Metrics(
        store,
        clock=utc_now,
        free_bytes=lambda: free_bytes(config.record.folder),
        newest_backup=lambda: next(iter(backups_in(config.record.backup_folder)), None),
        version=version("colonywatch"),
    )
    return Health(store, metrics, clock=utc_now, token_file=config.outlets.metrics.token_file)


def serve(
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=1, max=65535, show_default=False, help="Instead of the configured."
        ),
    ] = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """The dashboard: dishes, alerts and plans in a browser, until SIGTERM or Ctrl-C.

    It reads the record and writes nothing but what people decide. It listens on this machine
    alone by default, and elsewhere only once there are accounts (colonywatch users).

    Example: colonywatch serve --port 8470
    """
    # Only this command serves pages.
    from monitor.outlets.answer_links import AnswerLinks
    from monitor.outlets.dashboard.app import build_app
    from monitor.outlets.dashboard.serving import listen_for, server_for

    begin_logging()
    settings = open_config(config, state)
    dashboard = settings.outlets.dashboard
    if port is not None:
        dashboard = dashboard.model_copy(update={"port": port})
    links = AnswerLinks(settings.secret_file, good_for=timedelta(days=dashboard.link_days))
    with (
        Store(
            settings.record.database_url, follows=True, take_back=take_back_from(settings)
        ) as store,
        listen_for(dashboard, store.people.exist()) as taken,
    ):
        app = build_app(
            settings,
            store,
            links,
            clock=utc_now,
            draw_plan=lambda plan: picture_of(plan, store, settings),
            health=_health(settings, store),
            shift_between=lambda first, second, field: shift_between(
                first, second, field, store, settings
            ),
            check_grounds=lambda plan: check_grounds(plan, store, settings, utc_now()),
        )
        shown_host = f"[{dashboard.host}]" if ":" in dashboard.host else dashboard.host
        say(f"the dashboard is at {dashboard.url or f'http://{shown_host}:{dashboard.port}'}")
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        server_for(app).run(sockets=[taken])
