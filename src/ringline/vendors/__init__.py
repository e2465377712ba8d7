"""Who sells numbers and carries texts: one interface, a module for each vendor, a skeleton for those with an API."""
