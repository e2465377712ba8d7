# Asterisk 22 (LTS) from Debian forky; the configuration is mounted, see asterisk-config/.
FROM debian:forky-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends asterisk asterisk-moh-opsound-gsm \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /etc/asterisk/* \
    && asterisk -V

COPY docker/asterisk-entrypoint.sh docker/asterisk-health.sh /usr/local/bin/

USER asterisk
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/asterisk-entrypoint.sh"]
CMD ["asterisk", "-f"]
