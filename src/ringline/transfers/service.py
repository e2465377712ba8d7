"""What may happen to transfers: starting, looking, completing, canceling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID, uuid4, uuid5

import structlog
from sqlalchemy.exc import IntegrityError

from ringline.calls.call import Call
from ringline.calls.conversation import Joint
from ringline.calls.joining import Side, join
from ringline.calls.states import Direction
from ringline.calls.transfer import House, Transfer, TransferStatus, TransferType
from ringline.clock import Clock
from ringline.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from ringline.events.resource import Told
from ringline.http import Page, PageQuery, page_of, page_statement
from ringline.sip.address import Address
from ringline.storage import Database, WriteBehind
from ringline.transfers import store
from ringline.transfers.models import TransferRecord, TransferView, view

log = structlog.get_logger(__name__)

RESTARTED = "the controller was restarted"


class Calls(Protocol):
    """Calls as the API sees them (``calls.service.CallService``)."""

    async def get(self, customer_id: UUID, call_id: UUID) -> tuple[Any, Any]: ...

    def ready(self) -> bool:
        """Whether calls can be placed now."""


class Conversations(Protocol):
    """Who talks with whom (``calls.connection.Connections``)."""

    def conversation(self, call: Call) -> Joint | None: ...


class TransferService:
    """Transfers of one controller: those under way in memory, all of them in the table."""

    def __init__(
        self,
        database: Database,
        house: House,
        calls: Calls,
        conversations: Conversations,
        behind: WriteBehind[TransferRecord],
        clock: Clock,
    ) -> None:
        self._database = database
        self._house = house
        self._calls = calls
        self._conversations = conversations
        self._behind = behind
        self._clock = clock
        self._live: dict[UUID, tuple[TransferRecord, Transfer]] = {}

    async def finish_interrupted(self) -> None:
        """Transfers that another life of the controller left in the middle have failed."""
        async with self._database.begin() as connection:
            ended = await store.finish_interrupted(connection, self._clock.now(), RESTARTED)
            await Told("transfer", TransferView.model_validate).updated(connection, *ended)

    async def create(
        self,
        customer_id: UUID,
        *,
        kind: TransferType,
        transferer_call_id: UUID,
        addresses: list[Address],
        seed: UUID | None = None,
    ) -> TransferView:
        """Begin a transfer. Raises ``NotFound`` for the call, ``FailedPrecondition`` where it is in no
        conversation, ``InvalidArgument`` where nobody can be called, ``Unavailable``.
        """
        record_id = uuid4() if seed is None else uuid5(seed, "transfer")
        if seed is not None and (known := await self._find(customer_id, record_id)) is not None:
            return known
        if not self._calls.ready():
            raise Unavailable("No calls can be placed now. Try again shortly.")
        transferer, _ = await self._calls.get(customer_id, transferer_call_id)
        home, partner = self._conversation(transferer)
        try:
            orders = self._house.ordering.orders_from(partner, _own_side(partner), addresses, "auto")
        except InvalidArgument as error:
            message = error.message.replace("destinations[", "transferee_addresses[")
            raise InvalidArgument(message, reason=error.reason, details=error.details) from error
        record = TransferRecord(
            id=record_id,
            customer_id=customer_id,
            type=kind,
            transferer_call_id=transferer.id,
            transferred_call_id=partner.id,
            transferee_addresses=addresses,
            confbridge_id=UUID(home.bridge_id.partition("-")[2]),
            tm_create=self._clock.now(),
        )
        try:
            async with self._database.connect() as connection:
                await store.insert(connection, record.row())
        except IntegrityError:
            found = await self._find(customer_id, record_id)
            if found is None:
                raise
            return found
        self._behind.touch(record)
        if home.partner(transferer) is not partner:
            # while the row was stored somebody hung up, or another transfer began
            self._change(record, TransferStatus.FAILED, "the conversation ended", None)
            raise _no_conversation()
        transfer = Transfer(
            self._house,
            kind,
            home,
            transferer,
            partner,
            lambda status, detail, target: self._change(record, status, detail, target),
        )
        self._live[record.id] = record, transfer
        transfer.begin(orders)
        return view(record)

    def refer(
        self, transferer: Call, address: Address, changed: Callable[[TransferStatus, Call | None], None]
    ) -> None:
        """A telephone hands over the party that it talks with (REFER, RFC 3515), and waits until that is done.

        The target sees what the party is known by here, and nothing where one of the two withheld it. ``changed`` is
        told of the outcome. Raises ``FailedPrecondition`` without a conversation, ``RinglineError`` where the target
        cannot be called.
        """
        home, partner = self._conversation(transferer)
        source = _own_side(partner) if address.type == "tel" else _far_side(partner)
        hidden = transferer.anonymous or partner.anonymous
        orders = self._house.ordering.orders_from(partner, source, [address], "yes" if hidden else "auto")
        record = self._referred(TransferType.BLIND, transferer, partner, home, [address])

        def told(status: TransferStatus, detail: str, target: Call | None) -> None:
            self._change(record, status, detail, target)
            changed(status, target)

        transfer = Transfer(self._house, TransferType.BLIND, home, transferer, partner, told, stays=True)
        self._live[record.id] = record, transfer
        self._behind.touch(record)
        transfer.begin(orders)

    def join(self, first: Call, second: Call) -> None:
        """A telephone joins the parties of two calls of its own (RFC 3891). Raises ``FailedPrecondition`` unless both
        are conversations."""
        (home, party), (other_home, other) = self._conversation(first), self._conversation(second)
        record = self._referred(TransferType.ATTENDED, first, party, home, [_far_side(other)])
        record.transferee_call_id = other.id
        join(self._house, Side(home, first, party), Side(other_home, second, other))
        self._change(record, TransferStatus.COMPLETED, "", other)

    def _referred(
        self, kind: TransferType, transferer: Call, partner: Call, home: Joint, addresses: list[Address]
    ) -> TransferRecord:
        return TransferRecord(
            id=uuid4(),
            customer_id=transferer.customer_id,
            type=kind,
            transferer_call_id=transferer.id,
            transferred_call_id=partner.id,
            transferee_addresses=addresses,
            confbridge_id=UUID(home.bridge_id.partition("-")[2]),
            tm_create=self._clock.now(),
        )

    async def get(self, customer_id: UUID, transfer_id: UUID) -> TransferView:
        """Raises ``NotFound``."""
        found = await self._find(customer_id, transfer_id)
        if found is None:
            raise NotFound(f"There is no transfer {transfer_id}.", reason="TRANSFER_NOT_FOUND")
        return found

    def owns(self, transfer_id: UUID) -> bool:
        """Whether it is under way, here."""
        return transfer_id in self._live

    async def page(self, customer_id: UUID, query: PageQuery) -> Page[TransferView]:
        await self._behind.written()
        statement = page_statement(store.listing(customer_id), store.transfers, query)
        async with self._database.connect() as connection:
            rows = (await connection.execute(statement)).all()
        return page_of(rows, query, lambda row: view(dict(row._mapping)))

    async def cancel(self, customer_id: UUID, transfer_id: UUID) -> TransferView:
        """Raises ``NotFound``, ``FailedPrecondition`` for one that is over."""
        record, transfer = await self._under_way(customer_id, transfer_id)
        transfer.cancel()
        return view(record)

    async def complete(self, customer_id: UUID, transfer_id: UUID) -> TransferView:
        """Raises ``NotFound``, ``FailedPrecondition`` for one that is over."""
        record, transfer = await self._under_way(customer_id, transfer_id)
        transfer.complete()
        return view(record)

    def _conversation(self, transferer: Any) -> tuple[Joint, Call]:
        home = self._conversations.conversation(transferer) if isinstance(transferer, Call) else None
        partner = None if home is None else home.partner(transferer)
        if home is None or partner is None:
            raise _no_conversation()
        return home, partner

    async def _under_way(self, customer_id: UUID, transfer_id: UUID) -> tuple[TransferRecord, Transfer]:
        live = self._live.get(transfer_id)
        if live is not None and live[0].customer_id == customer_id:
            return live
        found = await self.get(customer_id, transfer_id)
        raise FailedPrecondition(
            f"The transfer is over: its status is `{found.status}`.", reason="TRANSFER_STATE_INVALID"
        )

    async def _find(self, customer_id: UUID, transfer_id: UUID) -> TransferView | None:
        live = self._live.get(transfer_id)
        if live is not None:
            return view(live[0]) if live[0].customer_id == customer_id else None
        await self._behind.written()
        async with self._database.connect() as connection:
            row = await store.get(connection, customer_id, transfer_id)
        return None if row is None else view(dict(row._mapping))

    def _change(
        self, record: TransferRecord, status: TransferStatus, detail: str, target: Call | None
    ) -> None:
        record.status = status
        record.detail = detail
        if target is not None:
            record.transferee_call_id = target.id
        record.tm_update = self._clock.now()
        if status not in store.UNFINISHED:
            self._live.pop(record.id, None)
            log.info("transfer_over", transfer_id=str(record.id), status=status.value, why=detail)
        self._behind.touch(record)


def _own_side(partner: Call) -> Address:
    """What the target is shown: the number of ours that the partner called, or was called from."""
    own = partner.destination if partner.direction is Direction.INCOMING else partner.source
    return own if own.type == "tel" else Address(type="tel")


def _far_side(partner: Call) -> Address:
    """Who the party is: what its telephone is called by, not ours."""
    return partner.source if partner.direction is Direction.INCOMING else partner.destination


def _no_conversation() -> FailedPrecondition:
    return FailedPrecondition(
        "transferer_call_id: this call is not connected with anybody (or is being transferred already); a transfer"
        " needs a call that talks with another one.",
        reason="CALL_STATE_INVALID",
    )
