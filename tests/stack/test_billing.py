"""Rates, the ledger and top-ups where calls are real."""

from __future__ import annotations

import secrets
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa

from ringline.billing.tables import billing_accounts
from tests.stack import tenants
from tests.stack.product import HANGUP, Json, Product, eventually
from tests.stack.wrapper import ringline


async def _boss(product: Product) -> str:
    env = product.env
    return await tenants.login(product, env["RINGLINE_ADMIN_USERNAME"], env["RINGLINE_ADMIN_PASSWORD"])


async def test_a_call_is_charged_by_the_rate_of_its_prefix(product: Product) -> None:
    boss, digits = await _boss(product), f"1202{secrets.randbelow(700) + 200}"
    body = {
        "kind": "call_pstn_outgoing",
        "prefix": digits,
        "credit_per_unit": 1_234,
        "unit_seconds": 30,
        "minimum_units": 3,
    }
    status, rate = await product.api.call("POST", "/v1.0/rates", body, token=boss, accesskey="")
    assert status == 200, rate
    try:
        # answers and hangs up after a second
        call = await product.place(f"+{digits}0007", HANGUP)

        async def charged() -> list[Json]:
            page = await product.api.get("/v1.0/billings", reference_id=call["id"])
            return list(page["result"])

        (entry,) = await eventually(charged, "the call is charged", within=30)
    finally:
        await product.api.call("DELETE", f"/v1.0/rates/{rate['id']}", token=boss, accesskey="")
    assert (entry["rate_credit_per_unit"], entry["billable_units"]) == (1_234, 3)
    assert (entry["amount_credit"], entry["cost_type"]) == (-3_702, "call_pstn_outgoing")


async def test_a_customer_without_money_is_refused_until_it_is_topped_up(product: Product) -> None:
    boss, tenant = await _boss(product), await tenants.new_tenant(product, credit=0)
    try:
        text = {"number": f"+1202555{secrets.randbelow(9000) + 1000}"}
        status, answer = await tenant.api.call("POST", "/v1.0/numbers", text)
        assert (status, answer["error"]["reason"]) == (402, "INSUFFICIENT_BALANCE")
        path = f"/v1.0/billing_accounts/{tenant.world['billing_account']}/balance_add_force"
        top_up = {"credit": 7_000_000, "reference": f"test {uuid4()}"}
        for _ in range(2):
            status, account = await product.api.call("POST", path, top_up, token=boss, accesskey="")
            assert (status, account["balance_credit"]) == (200, 7_000_000)

        async def known() -> bool:
            _, refused = await tenant.api.call("POST", "/v1.0/numbers", text)
            return "error" not in refused or refused["error"]["reason"] != "INSUFFICIENT_BALANCE"

        await eventually(known, "the credit is known to who sells numbers", within=30)
        async with product.database.connect() as connection:
            mine = billing_accounts.c.customer_id == tenant.id
            row = (await connection.execute(sa.select(billing_accounts).where(mine))).one()
        assert row.balance_credit <= 7_000_000
    finally:
        await tenants.clear(product, tenant)


async def test_the_command_imports_files_of_the_present_folder(product: Product, tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text("kind,prefix,price\nsms,88216,0.05\nsms,88213,x\n")

    async def rates(*arguments: str) -> tuple[int, str]:
        return await ringline("rates", "import", *arguments, folder=tmp_path)

    code, said = await rates("prices.csv", "--dry-run")
    assert code == 1
    assert "line 3, `price`" in said
    (tmp_path / "prices.csv").write_text("kind,prefix,price\nsms,88216,0.05\n")
    code, said = await rates("--start", "2099-01-01T00:00:00Z", "--dry-run", "prices.csv")
    assert (code, said.strip()) == (0, "1 rates: 1 would be added, 0 unchanged, 0 would be ended.")
    code, said = await rates("nowhere.csv")
    assert code == 1
    assert "nowhere.csv" in said
