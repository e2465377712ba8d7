"""Call detail records: what became of each call, and what it cost."""
