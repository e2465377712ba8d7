"""``ringline webhook``: endpoints made, listed and tried, and what was delivered, by the API."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ringline.asking import Api, ask, table

webhook_app = typer.Typer(no_args_is_help=True)

Webhook = Annotated[str, typer.Argument(help="The webhook's id.")]


@webhook_app.command("list")
def list_webhooks() -> None:
    """Show your webhooks, newest first."""

    async def work(api: Api) -> list[Any]:
        return await api.all("/v1.0/webhooks")

    table(
        ("ID", "TYPE", "STATE", "METHOD", "URI", "EVENTS"),
        [
            (row["id"], row["type"], _state(row), row["method"], row["uri"], " ".join(row["events"]) or "all")
            for row in ask(work)
        ],
        "There are none: `ringline webhook create URI` makes one.",
    )


@webhook_app.command("create")
def create(
    uri: Annotated[str, typer.Argument(help="Where events are sent.")],
    events: Annotated[
        list[str] | None, typer.Option("--event", help="A name such as call_hangup or call_*; several times.")
    ] = None,
    resources: Annotated[
        list[str] | None, typer.Option("--resource", help="A kind such as call; several times.")
    ] = None,
    method: Annotated[str, typer.Option(help="POST, PUT, GET or DELETE.")] = "POST",
    name: Annotated[str, typer.Option(help="What it is called.")] = "",
) -> None:
    """Make a webhook; its secret is shown this once."""
    body = {
        "uri": uri,
        "events": events or [],
        "resources": resources or [],
        "method": method.upper(),
        "name": name,
    }

    async def work(api: Api) -> Any:
        return await api.ask("POST", "/v1.0/webhooks", body)

    made = ask(work)
    typer.echo(f"id      {made['id']}")
    typer.echo(f"secret  {made['secret']}")


@webhook_app.command("rotate")
def rotate(
    webhook: Webhook,
    overlap: Annotated[
        int, typer.Option(min=0, max=604_800, help="Seconds for which the old one signs too.")
    ] = 86_400,
) -> None:
    """Give a webhook a new secret, and show it this once."""

    async def work(api: Api) -> Any:
        return await api.ask("POST", f"/v1.0/webhooks/{webhook}/rotate_secret", {"overlap": overlap})

    typer.echo(f"secret  {ask(work)['secret']}")


@webhook_app.command("delete")
def delete(webhook: Webhook) -> None:
    """Delete a webhook."""

    async def work(api: Api) -> Any:
        return await api.ask("DELETE", f"/v1.0/webhooks/{webhook}")

    ask(work)


@webhook_app.command("test")
def test(webhook: Webhook) -> None:
    """Send a test event now and show what the endpoint answers; status 1 where it does not answer 2xx."""

    async def work(api: Api) -> Any:
        return await api.ask("POST", f"/v1.0/webhooks/{webhook}/test")

    answer = ask(work)
    typer.echo(_attempt(answer["attempt"]))
    if not answer["delivered"]:
        raise typer.Exit(1)


@webhook_app.command("deliveries")
def deliveries(
    webhook: Annotated[str, typer.Option("--webhook", help="Only those of this webhook.")] = "",
    status: Annotated[str, typer.Option(help="Only those: pending, delivered, failed.")] = "",
    event: Annotated[str, typer.Option(help="Only those of this event, such as call_hangup.")] = "",
    most: Annotated[int, typer.Option("--most", min=1, max=1000, help="How many.")] = 20,
) -> None:
    """Show the newest deliveries, each with its last attempt."""
    given = {"webhook_id": webhook, "status": status, "type": event, "page_size": str(most)}

    async def work(api: Api) -> list[Any]:
        query = {name: value for name, value in given.items() if value}
        found: list[Any] = (await api.ask("GET", "/v1.0/webhook_deliveries", **query))["result"]
        return found

    table(
        ("ID", "MADE", "EVENT", "STATUS", "TRIES", "LAST ATTEMPT"),
        [
            (
                row["id"],
                row["tm_create"],
                row["type"],
                f"{row['status']} ({row['reason']})" if row["reason"] else row["status"],
                str(row["attempt_count"]),
                _attempt(row["attempts"][-1]) if row["attempts"] else "",
            )
            for row in ask(work)
        ],
        "There are none.",
    )


@webhook_app.command("redeliver")
def redeliver(delivery: Annotated[str, typer.Argument(help="The delivery's id.")]) -> None:
    """Send an event again."""

    async def work(api: Api) -> Any:
        return await api.ask("POST", f"/v1.0/webhook_deliveries/{delivery}/redeliver")

    typer.echo(ask(work)["status"])


@webhook_app.command("recover")
def recover(
    webhook: Webhook,
    since: Annotated[str, typer.Option(help="ISO 8601, such as 2026-03-02T00:00:00Z.")],
) -> None:
    """Send again what has failed since a time."""

    async def work(api: Api) -> Any:
        return await api.ask("POST", f"/v1.0/webhooks/{webhook}/recover", {"since": since})

    typer.echo(f"{ask(work)['count']} deliveries wait again")


def _state(row: dict[str, Any]) -> str:
    if not row["enabled"]:
        return f"disabled ({row['disabled_reason']})"
    return "failing" if row["tm_failing"] else "enabled"


def _attempt(attempt: dict[str, Any]) -> str:
    status = attempt["status"] or attempt["error"]
    answer = " ".join(attempt["answer"].split())[:60]
    return f"{status} after {attempt['ms']} ms{' ' + answer if answer else ''}"
