# tidewatch in an image with nothing else in it. The configuration is mounted at
# /etc/tidewatch, the logs read-only where it says, the state at /var/lib/tidewatch.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -o /out/tidewatch ./cmd/tidewatch && mkdir -p /out/state

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/tidewatch /usr/bin/tidewatch
COPY --from=build --chown=65532:65532 /out/state /var/lib/tidewatch
USER 65532:65532
VOLUME /var/lib/tidewatch
EXPOSE 9465
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["/usr/bin/tidewatch", "status", "-o", "json"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/tidewatch"]
CMD ["run"]
