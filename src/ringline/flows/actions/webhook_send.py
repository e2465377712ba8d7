"""``webhook_send``: tell a server something."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from ringline.flows.actions.base import Action, ActionFailed, Context, Options, count, final, own_call
from ringline.flows.actions.services import Webhook
from ringline.flows.actions.web import Url, ready_url
from ringline.flows.engine import Next, Result
from ringline.flows.variables import Lookup, TooLong, fill_json, substitute

MAX_WEBHOOKS = 1000
"""Of one flow: a loop around ``webhook_send`` ends here."""
STATUS_CODE = "voipbin.webhook.status_code"
BODY = "voipbin.webhook.body"
_MEDIA_TYPE = re.compile(
    r"[\w!#$&^.+-]{1,64}/[\w!#$&^.+-]{1,64}(\s*;\s*[\w!#$&^.+-]{1,32}=[\w!#$&^.+-]{1,64}){0,4}"
)


def _check_type(value: str, info: ValidationInfo) -> str:
    if value and not _MEDIA_TYPE.fullmatch(value):
        raise ValueError("must be a media type such as `application/json`")
    return value


class WebhookSendOptions(Options):
    """``sync`` waits for the answer and keeps its status and body in variables."""

    sync: bool = Field(
        default=False,
        description=f"Wait for the answer (10 s at most) and keep it in `{STATUS_CODE}` and `{BODY}`.",
    )
    uri: Url
    method: Literal["POST", "GET", "PUT", "DELETE"] = "POST"
    data_type: Annotated[str, AfterValidator(_check_type)] = Field(
        default="application/json", description="The media type of `data`."
    )
    data: str = Field(
        default="",
        max_length=128 * 1024,
        description="The body. In JSON, variables within strings are escaped as they are put in.",
    )

    @model_validator(mode="after")
    def _body_where_there_is_one(self, info: ValidationInfo) -> WebhookSendOptions:
        if not final(info) and self.method == "GET" and self.data:
            raise ValueError("data: a GET request has no body; put it into the uri, or use POST")
        return self


class WebhookSend(Action):
    """Send a request to a server; one that fails is noted on the call, and the flow goes on."""

    needs_call = False
    changes_variables = True

    type: Literal["webhook_send"]
    option: WebhookSendOptions

    async def run(self, context: Context) -> Result:
        option = self.option
        webhooks = context.services.webhooks
        if webhooks is None:
            context.leg.note("webhook_send", f"{option.method} {option.uri}")
            return Next()
        if option.sync:
            context.state.variables.update({STATUS_CODE: "", BODY: ""})
        if not count(context.state, "webhook_send", MAX_WEBHOOKS):
            raise ActionFailed("WEBHOOK_LIMIT", f"a flow may send {MAX_WEBHOOKS} webhooks")
        written = context.written["option"]
        webhook = Webhook(
            id=context.progress.id("webhook"),
            customer_id=context.leg.call.customer_id,
            call=own_call(context),
            activeflow_id=context.activeflow_id,
            action=context.written,
            method=option.method,
            url=ready_url(written["uri"], context.lookup),
            content_type=option.data_type,
            data=_filled(written["data"], option.data_type, context.lookup),
        )
        if not option.sync:
            webhooks.post(webhook)
            return Next()
        status, body = await webhooks.send(webhook)
        context.state.variables.update({STATUS_CODE: str(status), BODY: body})
        return Next()

    def urls(self) -> dict[str, str]:
        return {"option.uri": self.option.uri}


def _filled(written: str, media_type: str, lookup: Lookup) -> str:
    try:
        if "json" in media_type.partition(";")[0].lower():
            return fill_json(written, lookup)
        return str(substitute(written, lookup))
    except TooLong:
        raise ActionFailed("OPTION_TOO_LONG", "data grew too long with its variables") from None
