# Kamailio 6 from Debian forky; the configuration is mounted, see kamailio-config/.
FROM debian:forky-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends kamailio kamailio-extra-modules kamailio-json-modules \
        kamailio-outbound-modules kamailio-postgres-modules kamailio-tls-modules kamailio-utils-modules \
        kamailio-websocket-modules \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /etc/kamailio/* \
    && kamailio -v

COPY docker/kamailio-entrypoint.sh docker/kamailio-health /usr/local/bin/

USER kamailio
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/kamailio-entrypoint.sh"]
HEALTHCHECK CMD ["/usr/local/bin/kamailio-health"]
