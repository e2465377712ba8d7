"""SIP over UDP (RFC 3261), as much of it as one end of a telephone call needs."""
