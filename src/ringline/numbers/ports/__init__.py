"""Numbers that are brought in from other carriers: stored before a vendor is asked, mirrored until they are ours."""

from ringline.numbers.ports.http import port_routes
from ringline.numbers.ports.service import PortService
from ringline.numbers.ports.steps import PortSteps
from ringline.numbers.ports.worker import NumberPorts

__all__ = ["NumberPorts", "PortService", "PortSteps", "port_routes"]
