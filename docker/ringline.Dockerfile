# The controller, the migrations, the command line and the sandbox carrier: one image, four commands.
FROM debian:forky-slim AS python

RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates espeak-ng python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin


FROM python AS tools

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv
COPY docker/uv.lock /
RUN python3 -m venv /tools \
    && /tools/bin/pip install --quiet --no-cache-dir --require-hashes --requirement /uv.lock


# JsSIP for the page /phone, as one file. Node and npm come from a wheel: Debian's npm is 391 packages.
FROM tools AS phone

COPY docker/phone/node.lock /phone/
RUN /tools/bin/pip install --quiet --no-cache-dir --require-hashes --requirement /phone/node.lock
COPY docker/phone/package.json docker/phone/package-lock.json /phone/
WORKDIR /phone
RUN export PATH=/tools/bin:$PATH NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
    && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --silent \
    && mkdir out \
    && node_modules/.bin/esbuild node_modules/jssip/lib/JsSIP.js --bundle --minify --format=iife --global-name=JsSIP \
        --target=es2020 --log-level=warning --outfile=out/jssip.js \
    # of all that is in the file; esbuild itself is not
    && for name in jssip debug events ms sdp-transform; do \
        printf '=== %s\n\n' "$name"; cat node_modules/$name/LICENSE* node_modules/$name/license* 2>/dev/null; echo; \
    done > out/licences.txt


FROM python

# fixed numbers, so that files in var/ have one owner; compose may give other ones
RUN groupadd --gid 10001 ringline && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp ringline
COPY requirements.lock /opt/ringline/
RUN --mount=type=bind,from=tools,source=/tools,target=/tools \
    python3 -m venv --without-pip /opt/ringline \
    && /tools/bin/uv pip sync --quiet --no-cache --require-hashes \
        --python /opt/ringline/bin/python /opt/ringline/requirements.lock \
    # the root is read-only later; the data of 250 countries that nobody reads takes as long as all the rest
    && python3 -m compileall -q -j 0 -x 'phonenumbers/(geodata|carrierdata|tzdata)|/tests/|pygments/lexers' /opt/ringline/lib
COPY --from=phone /phone/out /opt/ringline/phone
COPY docker/http-health.sh docker/ringline-cli.py /usr/local/bin/
COPY src /opt/ringline/src
RUN python3 -m compileall -q /opt/ringline/src \
    && echo /opt/ringline/src > "$(/opt/ringline/bin/python -c 'import site; print(site.getsitepackages()[0])')/ringline.pth" \
    && ln -s /usr/local/bin/ringline-cli.py /opt/ringline/bin/ringline

ENV PATH=/opt/ringline/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /opt/ringline
USER ringline
STOPSIGNAL SIGTERM
CMD ["ringline", "serve"]
