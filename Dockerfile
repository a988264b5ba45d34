# Three targets, in this order:
#   prebuilt     static binaries from dist/ (made by `.ci/dist`): seconds, no network
#   build        compiles them
#   from-source  the default: what `docker compose up` uses on a fresh machine
# One image holds the three programs; a service names the one it runs.

FROM scratch AS prebuilt
COPY dist/bin/ /bin/
# The directory of the results belongs to the user, so that a new named volume does as well.
COPY --chown=65532:65532 dist/results/ /results/
USER 65532:65532
ENV PATH=/bin
CMD ["loadgen", "--help"]

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# Static binaries, so that they run in an empty image.
RUN .ci/dist

FROM scratch AS from-source
COPY --from=build /src/dist/bin/ /bin/
COPY --from=build --chown=65532:65532 /src/dist/results/ /results/
USER 65532:65532
ENV PATH=/bin
CMD ["loadgen", "--help"]
