# Two images from one file:
#
#   docker build --target operator -t housekeeper-operator .
#   docker build --target worker   -t housekeeper-worker   .
#
# BASE_IMAGE may be any image with `python3` (3.11 or later) and its venv module. All stages start from the same one, so
# the symbolic links of the virtual environments, which point at the base's interpreter, still resolve in the final stages.
ARG BASE_IMAGE=python:3.13-slim

# Dependencies come first and from their own files, so that a change of code does not install them again.
FROM ${BASE_IMAGE} AS builder
# For networks with their own package index or certificate authority; unset, pip does what it always does.
ARG PIP_INDEX_URL
ARG PIP_CERT
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# pip lives in /build/tools and is pointed at environments made without it: what is copied out never held an installer.
# Installing compiles no bytecode; compileall does, with pycs that are never checked against their source. A read-only
# root file system loses nothing by that, and neither does a copy that drops modification times.
COPY requirements/build.txt /build/requirements/build.txt
RUN python3 -m venv /build/tools \
 && /build/tools/bin/python -m pip install --require-hashes --only-binary :all: -r /build/requirements/build.txt

FROM builder AS wheel
WORKDIR /build/source
COPY pyproject.toml README.md LICENSE ./
COPY crds/housekeeper_api crds/housekeeper_api
COPY operator/housekeeper_operator operator/housekeeper_operator
COPY worker_image/housekeeper_worker worker_image/housekeeper_worker
RUN /build/tools/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /build/wheel .

FROM builder AS operator-environment
COPY requirements/operator.txt /build/requirements/operator.txt
RUN python3 -m venv --without-pip /opt/housekeeper \
 && /build/tools/bin/python -m pip --python /opt/housekeeper/bin/python3 install --no-compile \
      --require-hashes --only-binary :all: -r /build/requirements/operator.txt \
 && /opt/housekeeper/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /opt/housekeeper/lib
COPY --from=wheel /build/wheel /build/wheel
# One wheel holds all of the project; each image keeps its own part.
RUN /build/tools/bin/python -m pip --python /opt/housekeeper/bin/python3 install --no-compile --no-deps --no-index /build/wheel/*.whl \
 && rm -r /opt/housekeeper/lib/python3*/site-packages/housekeeper_worker \
          /opt/housekeeper/bin/housekeeper /opt/housekeeper/bin/housekeeper-worker \
 && /opt/housekeeper/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /opt/housekeeper/lib/python3*/site-packages/housekeeper_*

FROM builder AS worker-environment
COPY requirements/worker.txt /build/requirements/worker.txt
RUN python3 -m venv --without-pip /opt/housekeeper \
 && /build/tools/bin/python -m pip --python /opt/housekeeper/bin/python3 install --no-compile \
      --require-hashes --only-binary :all: -r /build/requirements/worker.txt \
 && /opt/housekeeper/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /opt/housekeeper/lib
COPY --from=wheel /build/wheel /build/wheel
RUN /build/tools/bin/python -m pip --python /opt/housekeeper/bin/python3 install --no-compile --no-deps --no-index /build/wheel/*.whl \
 && rm -r /opt/housekeeper/lib/python3*/site-packages/housekeeper_operator /opt/housekeeper/bin/housekeeper-operator \
 && /opt/housekeeper/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /opt/housekeeper/lib/python3*/site-packages/housekeeper_*

# What both images are: the base's interpreter without its installers, and a user that is a number, so that
# `runAsNonRoot` can be checked without looking a name up. It has a name nonetheless, and USER gives one to any other uid
# that a cluster may choose: libraries ask for it.
FROM ${BASE_IMAGE} AS runtime
RUN rm -rf /usr/local/lib/python3.*/site-packages/pip /usr/local/lib/python3.*/site-packages/pip-* \
           /usr/local/lib/python3.*/ensurepip /usr/local/bin/pip* \
 && echo "housekeeper:x:65532:" >>/etc/group \
 && echo "housekeeper:x:65532:65532:Housekeeper:/nonexistent:/usr/sbin/nologin" >>/etc/passwd
ENV PATH=/opt/housekeeper/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/ \
    USER=housekeeper \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="Housekeeper" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /
USER 65532:65532

FROM runtime AS worker
LABEL org.opencontainers.image.title="housekeeper-worker" \
      org.opencontainers.image.description="Carries out one run of a Housekeeper policy or check, in a pod or on the command line."
COPY --from=worker-environment /opt/housekeeper /opt/housekeeper
ENTRYPOINT ["/opt/housekeeper/bin/housekeeper-worker"]

FROM runtime AS operator
LABEL org.opencontainers.image.title="housekeeper-operator" \
      org.opencontainers.image.description="The Housekeeper operator: reconciles CleanupPolicies, HealthChecks and MaintenanceRuns."
COPY --from=operator-environment /opt/housekeeper /opt/housekeeper
EXPOSE 8080
ENTRYPOINT ["/opt/housekeeper/bin/housekeeper-operator"]
