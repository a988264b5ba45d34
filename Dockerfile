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
# Linked statically, so that it runs in an empty image; with the target named, build scripts and macros are not.
RUN RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --profile dist --locked --target x86_64-unknown-linux-gnu -p mockreg -p chaosproxy -p loadgen \
 && mkdir -p /out/bin /out/results \
 && cp target/x86_64-unknown-linux-gnu/dist/mockreg target/x86_64-unknown-linux-gnu/dist/chaosproxy \
       target/x86_64-unknown-linux-gnu/dist/loadgen /out/bin/ \
 && touch /out/results/.keep

FROM scratch AS from-source
COPY --from=build /out/bin/ /bin/
COPY --from=build --chown=65532:65532 /out/results/ /results/
USER 65532:65532
ENV PATH=/bin
CMD ["loadgen", "--help"]
