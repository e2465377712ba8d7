"""``ringline customer`` and ``ringline agent``: accounts, by the API; customers as who administers all of it."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import typer

from ringline.asking import Api, Refused, ask, operate, table

customer_app = typer.Typer(no_args_is_help=True)
agent_app = typer.Typer(no_args_is_help=True)

Customer = Annotated[str, typer.Argument(help="A customer: its id, e-mail address or domain label.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@customer_app.command("list")
def list_customers(
    status: Annotated[str, typer.Option(help="initial, active, frozen, deleted or expired.")] = "",
    name: Annotated[str, typer.Option(help="A part of the name.")] = "",
) -> None:
    """Show customers, newest first; without --status those that were not deleted."""
    wanted = {key: value for key, value in (("status", status), ("name", name)) if value}

    async def work(api: Api) -> list[Any]:
        return await api.all("/v1.0/customers", **wanted)

    table(
        ("ID", "STATUS", "LABEL", "NAME", "EMAIL", "DELETED ON"),
        [
            (
                row["id"],
                row["status"],
                row["domain_label"],
                row["name"],
                row["email"],
                row["tm_delete"] or row["tm_deletion_scheduled"] or "",
            )
            for row in operate(work)
        ],
        "There are none.",
    )


@customer_app.command("add")
def add_customer(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    email: Annotated[
        str, typer.Argument(help="Its admin's login; a link to choose a password is mailed there.")
    ],
    label: Annotated[str, typer.Option(help="Its name in SIP addresses; one is made up without.")] = "",
    country: Annotated[str, typer.Option(help="Where it is at home: us, de ...")] = "",
    verified: Annotated[bool, typer.Option("--verified", help="You know who it is.")] = False,
) -> None:
    """Make a customer. Prints its id and its access key, which is not shown again."""
    body: dict[str, Any] = {"name": name, "email": email, "country": country}
    if label:
        body["domain_label"] = label
    if verified:
        body["identity_verification_status"] = "verified"

    async def work(api: Api) -> Any:
        return await api.ask("POST", "/v1.0/customers", body)

    made = operate(work)
    typer.echo(f"id          {made['id']}")
    typer.echo(f"label       {made['domain_label']}")
    typer.echo(f"login       {made['username']}")
    typer.echo(f"access key  {made['accesskey']['token']}")


@customer_app.command("freeze")
def freeze(customer: Customer) -> None:
    """Refuse everything from and to a customer. In 30 days it is deleted, unless it is recovered."""
    row = operate(lambda api: _act(api, customer, "POST", "/freeze"))
    typer.echo(f"{row['id']}  {row['status']}  deleted on {row['tm_deletion_scheduled']}")


@customer_app.command("recover")
def recover(customer: Customer) -> None:
    """Let a frozen customer go on as before."""
    row = operate(lambda api: _act(api, customer, "POST", "/recover"))
    typer.echo(f"{row['id']}  {row['status']}")


@customer_app.command("delete")
def delete(customer: Customer, yes: Yes = False) -> None:
    """Delete a customer for good: numbers are given back, calls ended, everything it had is taken down."""
    if not yes:
        typer.confirm(f"Delete {customer} and all it has?", abort=True)
    row = operate(lambda api: _act(api, customer, "DELETE", ""))
    typer.echo(f"{row['id']}  {row['status']}")


@agent_app.command("list")
def list_agents() -> None:
    """Show the agents of your customer (the access key of .env), newest first."""

    async def work(api: Api) -> list[Any]:
        return await api.all("/v1.0/agents")

    table(
        ("ID", "LOGIN", "NAME", "PERMISSION", "STATUS"),
        [
            (row["id"], row["username"], row["name"], str(row["permission"]), row["status"])
            for row in ask(work)
        ],
        "There are none.",
    )


@agent_app.command("password")
def set_password(
    login: Annotated[str, typer.Argument(help="An agent of your customer: its id or its login.")],
) -> None:
    """Give an agent a new password, which is asked for. Its former logins end at once."""
    password = typer.prompt("New password", hide_input=True, confirmation_prompt=True)

    async def work(api: Api) -> Any:
        found = [
            row["id"]
            for row in await api.all("/v1.0/agents")
            if login.lower() in (row["id"], row["username"].lower())
        ]
        if not found:
            raise Refused(f"There is no agent {login}: `ringline agent list` shows yours.")
        return await api.ask("PUT", f"/v1.0/agents/{found[0]}/password", {"password": password})

    typer.echo(f"{ask(work)['username']} has a new password.")


async def _act(api: Api, customer: str, method: str, part: str) -> Any:
    return await api.ask(method, f"/v1.0/customers/{await _id(api, customer)}{part}")


async def _id(api: Api, customer: str) -> str:
    """The id of a customer who is named in another way."""
    try:
        return str(UUID(customer))
    except ValueError:
        pass
    field = "email" if "@" in customer else "domain_label"
    found = await api.all("/v1.0/customers", **{field: customer})
    if len(found) != 1:
        raise Refused(
            f"{len(found) or 'No'} customers have the {field.replace('_', ' ')} {customer}; `ringline customer list` "
            "shows their ids."
        )
    return str(found[0]["id"])
