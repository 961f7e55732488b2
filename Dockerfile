# The operator's image: Python, the pinned dependencies and the operator, without tools that build or install.
#
# Both images need the same Python 3.11 or later at the same path, the builder with `venv` and `pip`, the base with
# ca-certificates. Name them by digest to get the same bytes each time: a tag can move. Releases are built by digest only
# (`make image RELEASE=1`).
ARG BASE_IMAGE=docker.io/library/python:3.11.14-slim-bookworm
ARG BUILDER_IMAGE=${BASE_IMAGE}


FROM ${BUILDER_IMAGE} AS builder
WORKDIR /src
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/rotated-secrets
COPY requirements requirements
# To install from another package index, pass pip's configuration as a secret: no layer contains it.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.pem,target=/run/secrets/ca.pem \
    /build/bin/pip install \
        --no-cache-dir --no-deps --only-binary=:all: --require-hashes --requirement requirements/build.txt \
    && /build/bin/pip --python /opt/rotated-secrets/bin/python install --no-cache-dir --no-compile \
        --no-deps --only-binary=:all: --require-hashes --requirement requirements/runtime.txt
COPY LICENSE README.md pyproject.toml ./
COPY operator operator
RUN /build/bin/pip wheel --no-cache-dir --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /build/bin/pip --python /opt/rotated-secrets/bin/python install \
        --no-cache-dir --no-compile --no-index --no-deps --find-links /wheels rotated-secrets \
    && /build/bin/pip --python /opt/rotated-secrets/bin/python check
# The operator cannot write bytecode later, and bytecode must not depend on the time of a file. The models of the
# Kubernetes client would be a fifth of the image, and the operator loads hardly any of them.
RUN /build/bin/python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash \
        -x '/kubernetes/(aio|client/(api|models))/' /opt/rotated-secrets


FROM ${BASE_IMAGE}
# Remove tools that install or build, and all packages of the system's Python: the operator uses only its own.
# Remove set-user-id bits: the container must not gain privileges.
# Official images of Python have no bytecode of the standard library, and would compile it again at each start.
ENV PYTHONDONTWRITEBYTECODE=1
RUN rm -rf \
        /usr/lib/python3/dist-packages/* /usr/lib/python3*/ensurepip /usr/share/python-wheels \
        /usr/local/bin/easy_install* /usr/local/bin/idle* /usr/local/bin/pip* /usr/local/bin/pydoc* \
        /usr/local/bin/python*-config /usr/local/bin/wheel \
        /usr/local/lib/python3*/ensurepip /usr/local/lib/python3*/site-packages/* \
        /root/.cache /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* \
        /var/lib/apt/lists/* /var/log/* /tmp/* /var/tmp/* \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && echo 'rotated-secrets:x:65532:' >>/etc/group \
    && echo 'rotated-secrets:x:65532:65532::/nonexistent:/usr/sbin/nologin' >>/etc/passwd \
    && test -s /etc/ssl/certs/ca-certificates.crt \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=builder /opt/rotated-secrets /opt/rotated-secrets
# Drivers with a built-in OpenSSL find the system's certificates by SSL_CERT_FILE.
ENV PATH=/opt/rotated-secrets/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
WORKDIR /
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["rotated-secrets"]
CMD ["run"]
ARG BASE_IMAGE
ARG BASE_NAME=${BASE_IMAGE}
ARG BASE_DIGEST=
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="rotated-secrets" \
      org.opencontainers.image.description="A Kubernetes operator that rotates database credentials held in AWS Secrets Manager, with nothing going down." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_NAME}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"
