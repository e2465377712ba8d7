"""Pure functions over SIP facts: addresses, numbers, identity headers, causes. No I/O."""
