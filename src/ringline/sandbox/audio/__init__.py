"""What is heard: G.711, RTP (RFC 3550), telephone events (RFC 4733), tones and recordings."""
