"""SIP messages of calls: copied by Kamailio, kept for a bounded time, shown without what is secret."""
