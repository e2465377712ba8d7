"""Calls that phones and trunks make: what they dialled, what it means, and the flow that is made for it."""

from ringline.phones.arrivals import Directories, Meant, PhoneArrivals
from ringline.phones.contacts import Contacts
from ringline.phones.flows import PhoneFlows, connecting

__all__ = ["Contacts", "Directories", "Meant", "PhoneArrivals", "PhoneFlows", "connecting"]
