"""Audio of a call to and from a customer's server, over a WebSocket or as RTP (the actions ``external_media_*``).

Asterisk makes the audio; a process of its own (``relay_process``) carries what goes over WebSockets, so that the
controller's event loop sees no frame.
"""
