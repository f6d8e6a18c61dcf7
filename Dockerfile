# syntax=docker/dockerfile:1
# One image for web, worker and release: the command says which. docs/deploy.md has the platforms that use it.
#
# - No root: it runs as user 10001, who owns nothing in it.
# - A read-only root file system is enough: `docker run --read-only --tmpfs /tmp`.
# - No entry script: each command gets its signals itself.
# - PORT is 8000, unless the platform sets another.
#
# The base image is the Python of .python-version. Dependabot renews it. It is named by its tag and not by its digest, so
# that a rebuild brings Debian's security fixes.
ARG PYTHON_IMAGE=python:3.11-slim-trixie

FROM ${PYTHON_IMAGE} AS build
# The version is the one of requirements-dev.txt.
RUN pip install --no-cache-dir --root-user-action=ignore uv==0.13.9
COPY requirements.txt .
RUN uv venv --quiet --no-project /venv \
    && VIRTUAL_ENV=/venv UV_COMPILE_BYTECODE=1 \
       uv pip install --quiet --no-cache --require-hashes --only-binary :all: -r requirements.txt
WORKDIR /receiver
COPY . .
RUN /venv/bin/python -m compileall -q app receiver migrations wsgi.py gunicorn.conf.py

FROM ${PYTHON_IMAGE}
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PORT=8000
COPY --from=build /venv /venv
COPY --from=build /receiver /receiver
WORKDIR /receiver
USER 10001:10001
EXPOSE 8000
# Whatever acts on this check starts the container anew, and that brings no database back: so it asks for the process
# alone. A worker has no port. Turn the check off for it, as compose.yml does.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as http; http.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/healthz', timeout=4)"]
CMD ["gunicorn", "wsgi:app"]
