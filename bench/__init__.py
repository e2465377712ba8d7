"""``make bench``: what Ringline costs beside a plain dialplan, on one machine in one run (``bench/README.md``)."""
