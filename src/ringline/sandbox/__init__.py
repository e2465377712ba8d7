"""The sandbox carrier: a simulated PSTN, so that nobody needs a carrier account to try or test anything.

A SIP and RTP endpoint of its own in one asyncio process. Kamailio reaches it as provider ``sandbox``; how a
dialled number behaves is fixed by its last four digits (``behaviours``). It is no second Asterisk on purpose:
what it sends and what it writes down about a call must not share the faults of what it judges, and a
recording made from RTP timestamps has no gaps that the wire did not have.
"""
