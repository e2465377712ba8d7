"""The routes of numbers."""

from __future__ import annotations

from ringline.http import Page, Request, Route, page_of
from ringline.numbers.models import NumberAnswer, NumberChange, NumberFlows, NumberQuery
from ringline.numbers.service import NumberNotFound, NumberService

_ONE = "/v1.0/numbers/{number_id}"
_FLOW_ID = "d157ce07-0360-4cad-9007-c8ab89fccf9c"


def number_routes(service: NumberService) -> list[Route]:
    """List, read and change numbers."""

    async def page(request: Request[None, NumberQuery]) -> Page[NumberAnswer]:
        rows = await service.page(request.customer_id, request.query)
        return page_of(rows, request.query, NumberAnswer.model_validate, style="number")

    async def get(request: Request) -> NumberAnswer:
        return NumberAnswer.model_validate(await service.get(request.customer_id, request.path["number_id"]))

    async def update(request: Request[NumberFlows]) -> NumberAnswer:
        row = await service.update(request.customer_id, request.path["number_id"], request.body)
        return NumberAnswer.model_validate(row)

    return [
        Route(
            method="GET",
            path="/v1.0/numbers",
            handler=page,
            summary="List numbers",
            tags=("numbers",),
            query=NumberQuery,
            response=Page[NumberAnswer],
        ),
        Route(
            method="GET",
            path=_ONE,
            handler=get,
            summary="Read a number",
            tags=("numbers",),
            response=NumberAnswer,
            errors=(NumberNotFound,),
        ),
        Route(
            method="PUT",
            path=_ONE,
            handler=update,
            summary="Change a number",
            description="Fields that are left out stay as they are. A flow that does not exist is 404 "
            "`FLOW_NOT_FOUND`; the zero UUID takes the flow away.",
            tags=("numbers",),
            body=NumberChange,
            response=NumberAnswer,
            errors=(NumberNotFound,),
            body_examples={"assign a flow": {"call_flow_id": _FLOW_ID, "name": "hotline"}},
        ),
        Route(
            method="PUT",
            path=f"{_ONE}/flow_ids",
            handler=update,
            summary="Assign flows to a number",
            tags=("numbers",),
            body=NumberFlows,
            response=NumberAnswer,
            errors=(NumberNotFound,),
            body_examples={"both": {"call_flow_id": _FLOW_ID, "message_flow_id": _FLOW_ID}},
        ),
    ]
