"""Several processes as one installation: who drives which Asterisk, and how requests reach them."""
