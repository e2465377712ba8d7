"""The trail of administrative changes: who changed what, from where, and how it was before."""

from ringline.audit.http import audit_routes
from ringline.audit.models import Actor, Happening
from ringline.audit.service import AuditService
from ringline.audit.trail import Trail, note

__all__ = ["Actor", "AuditService", "Happening", "Trail", "audit_routes", "note"]
