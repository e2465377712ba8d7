"""Events as they happen, on WebSockets: subscribed to by topics, and gone on with after a break."""

from ringline.events.sockets.http import socket_routes
from ringline.events.sockets.service import Sockets
from ringline.events.sockets.socket import Bounds

__all__ = ["Bounds", "Sockets", "socket_routes"]
