# Asterisk 22 (LTS) from Debian forky; the configuration is mounted, see asterisk-config/.
FROM debian:forky-slim AS music

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-minimal
COPY docker/music.py /
RUN python3 /music.py /music


FROM debian:forky-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends asterisk \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /etc/asterisk/* \
    && asterisk -V

COPY --from=music /music /usr/share/ringline/music
COPY docker/asterisk-entrypoint.sh docker/asterisk-health.sh /usr/local/bin/

USER asterisk
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/asterisk-entrypoint.sh"]
CMD ["asterisk", "-f"]
