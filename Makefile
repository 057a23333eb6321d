# Targets for people; .ci/run calls `make test`.

GO     ?= go
BUILD  := build
# The duration of each fuzz target of `make fuzz`, and its workers.
FUZZTIME ?= 30m
FUZZPROCS ?= 2

.PHONY: all build manual deb deb-test deps test lint unit race poison example bench soak soak-elastic bench-peers eval figures fuzz popular clean

all: build

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BUILD)/tidewatch ./cmd/tidewatch

# Manual pages and the completion of shells, from the commands themselves.
manual:
	$(GO) run -tags manual ./cmd/tidewatch manual $(BUILD)
	gzip -9nf $(BUILD)/man/*.1

# The Debian package. nfpm has a module file of its own: it is nobody's dependency.
VERSION ?= $(shell git describe --tags --match 'v*' 2>/dev/null | sed 's/^v//' | grep . || echo 0.0.0+$$(git rev-parse --short HEAD))

deb: build manual
	VERSION=$(VERSION) GOARCH=$$($(GO) env GOARCH) $(GO) tool -modfile=configs/deb/tools.mod nfpm package -f configs/deb/nfpm.yaml -p deb -t $(BUILD)/

# The package has what it should.
deb-test: deb
	$(GO) test ./configs/deb -deb "$$(ls -t $(CURDIR)/$(BUILD)/tidewatch_*.deb | head -1)"

# What the tests need beside Go: the race detector a C compiler, the servers that
# internal/servers starts Java and Maven.
deps:
	@command -v $${CC:-cc} >/dev/null || { echo "installing a C compiler"; apt-get update -q && apt-get install -qy --no-install-recommends gcc libc6-dev; }
	@command -v mvn >/dev/null && command -v javac >/dev/null || { echo "installing Java and Maven"; apt-get update -q && apt-get install -qy --no-install-recommends maven openjdk-17-jdk-headless; }
	@command -v redis-server >/dev/null && command -v redis-sentinel >/dev/null || { echo "installing Redis"; apt-get update -q && apt-get install -qy --no-install-recommends redis-server redis-sentinel; }
	@command -v bindfs >/dev/null || { echo "installing bindfs"; apt-get update -q && apt-get install -qy --no-install-recommends bindfs; }
	@python3 -m pip --version >/dev/null 2>&1 || { echo "installing pip"; apt-get update -q && apt-get install -qy --no-install-recommends python3-pip; }
	$(GO) run ./internal/servers/install

# What must hold before a change lands.
test: deps lint unit race poison example deb-test

lint:
	@files=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$files" || { echo "gofmt would change:"; echo "$$files"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

unit:
	$(GO) test ./...

# The parts with goroutines once more, under the race detector.
race:
	$(GO) test -race ./event/... ./ingest/... ./internal/pipeline/... ./rules/... ./cmd/...
	$(GO) test -race -skip 'TestRealServers|TestBackPressure' ./outputs/elastic
	$(GO) test -race ./outputs/webhook ./outputs/syslog
	$(GO) test -race -run 'TestCommitAndLoad|TestDown|TestTwoSensors|TestFetch|TestPeers|TestLost' ./behavior/redis

# Released batches are overwritten, so that a view kept too long shows.
poison:
	$(GO) test -tags poison ./event/... ./ingest/... ./parsers/... ./behavior/... ./internal/pipeline/... ./cmd/...

# Suricata 7 for the tests of package ingest: bookworm itself has version 6.
.PHONY: suricata
deps: suricata
suricata:
	@command -v suricata >/dev/null || { echo "installing Suricata"; \
	  uri=$$(apt-get indextargets --format '$$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -1); \
	  echo "deb $$uri bookworm-backports main" > /etc/apt/sources.list.d/tidewatch-backports.list; \
	  apt-get update -q && apt-get install -qy --no-install-recommends -t bookworm-backports suricata; }

# The README's first command.
example:
	$(GO) run ./cmd/tidewatch analyze examples/day

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./parsers/... ./ingest ./enrich/... ./behavior/... ./internal/pipeline ./outputs
	$(GO) test -run '^$$' -bench . -benchtime 1x ./outputs/elastic
	$(GO) test -run '^$$' -bench Latency -benchtime 1x ./cmd/tidewatch
	$(GO) run ./internal/bench

# A million findings to each real search server, with a kill in the middle.
soak-elastic:
	TIDEWATCH_SOAK=1 $(GO) test -v -timeout 60m -run TestSoak ./outputs/elastic

# Beside other programs; skips those that are not installed.
bench-peers:
	$(GO) run ./internal/bench -peers

eval:
	$(GO) run ./cmd/tidewatch eval --timing --synth --labelled ../shared/data/labelled

# Writes what the commands print that the documents quote into the documents.
figures:
	$(GO) run ./internal/figures README.md docs/*.md

# Kills the sidecar while it follows logs that rotate, and compares. Hours on demand:
# make soak SOAK="-for 6h -kills 10000 -rotations 50000"
SOAK ?=

soak:
	$(GO) run ./internal/soak $(SOAK)

fuzz:
	@set -e; for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -parallel $(FUZZPROCS) $$p; \
	  done; \
	done

# The list of popular domains that is built in, from an npm package.
POPULAR := 0.30.0

popular:
	mkdir -p $(BUILD)/popular
	cd $(BUILD)/popular && npm pack --silent third-party-web@$(POPULAR) && tar xzf third-party-web-$(POPULAR).tgz
	$(GO) run ./internal/popular $(POPULAR) $(BUILD)/popular/package/dist/domain-map.csv > $(BUILD)/popular/popular.txt
	mv $(BUILD)/popular/popular.txt behavior/population/popular.txt

clean:
	rm -rf $(BUILD)
