#!/bin/bash
# The first start makes the cluster, user and database that the environment names; every start becomes the server.
set -euo pipefail

[[ "${1:-}" == -* ]] && set -- postgres "$@"
if [[ "${1:-}" != postgres ]]; then
    exec "$@"
fi

: "${POSTGRES_USER:=postgres}"
: "${POSTGRES_DB:=$POSTGRES_USER}"

if [[ ! -s "$PGDATA/PG_VERSION" ]]; then
    if [[ -n "${POSTGRES_PASSWORD_FILE:-}" ]]; then
        POSTGRES_PASSWORD="$(<"$POSTGRES_PASSWORD_FILE")"
    fi
    if [[ -z "${POSTGRES_PASSWORD:-}" && "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]]; then
        echo "POSTGRES_PASSWORD is not set: the database needs a password for its first start" >&2
        exit 1
    fi
    mkdir -p "$PGDATA"
    chmod 00700 "$PGDATA"
    # several words by design, as in the public image
    # shellcheck disable=SC2086
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:-}") \
        --pgdata="$PGDATA" --encoding=UTF8 ${POSTGRES_INITDB_ARGS:-} >/dev/null
    echo "host all all all ${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
    # No TCP yet: nobody shall take the half-made cluster for the real one
    PGUSER="$POSTGRES_USER" pg_ctl --pgdata="$PGDATA" --wait --silent --options="-c listen_addresses=''" start
    if [[ "$POSTGRES_DB" != postgres ]]; then
        psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres \
            --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
    fi
    for script in /docker-entrypoint-initdb.d/*.sql; do
        [[ -e "$script" ]] || continue
        psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --file="$script"
    done
    PGUSER="$POSTGRES_USER" pg_ctl --pgdata="$PGDATA" --wait --silent --mode=fast stop
    echo "PostgreSQL init process complete; ready for start up."
fi
exec "$@"
