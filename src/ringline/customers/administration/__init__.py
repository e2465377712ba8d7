"""Customers as the administrator of the installation sees them."""

from ringline.customers.administration.http import administration_routes
from ringline.customers.administration.service import CustomersService

__all__ = ["CustomersService", "administration_routes"]
