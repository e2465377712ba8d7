"""What a customer may use within a second and at once: what is set, what is in force, and what is used now."""
