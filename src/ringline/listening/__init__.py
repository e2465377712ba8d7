"""``ringline listen``: events during development, printed and forwarded to a server on this machine."""
