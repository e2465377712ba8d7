"""Numbers that may be bought: searched at the vendors, and among our own virtual ones."""
