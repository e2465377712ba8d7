"""What happens to the resources of the API: announced in the transaction of the change, published in order."""

from ringline.events.models import Event, Published
from ringline.events.outbox import emit

__all__ = ["Event", "Published", "emit"]
