# `make help` lists what there is. Everything but the targets for OpenCV, race and readers needs only Go, make
# and git. Tests of disks that are small or read-only mount them, which takes root.

VERSION ?= 0.1.0
PKGS    ?= ./...
RACE_PKGS ?= ./cmd/... ./internal/... ./pkg/... ./test/isolation/...
OPENCV_PKGS ?= ./internal/camera/... ./cmd/acquire/... ./test/opencv/...

MODULE  := github.com/sluicedaq/sluice
LDFLAGS := -s -w -X $(MODULE)/internal/config.version=$(VERSION)
BINS    := acquire writer analyze sluice
LINT    := .cache/golangci-lint
TESTCOUNT := .cache/testcount

# What `make demo` shows: ten seconds of a wave that moves in time and space, about 500 MB on disk.
DEMO_SOURCE ?= sim:?width=512&height=512&dtype=uint16&fps=100&pattern=wave&hz=7&kx=12&ky=5
DEMO_FLAGS  ?= --frames 1000 --writers 2 --analyzers 1
DEMO_OUT    ?= data

FUZZTIME ?= 10s
BENCH    ?= .
BENCHTIME ?= 1s
COUNT    ?= 1
BENCH_OUT ?= .cache
BENCH_FLAGS ?=
CHAOS    ?= 30
ISOLATION ?= 5
SOAK     ?= 60m
SOAK_RATE ?= 100MB
SOAK_OUT ?= .cache/soak

SWEEP    ?= ^(TestSweep|TestSweepRecover|TestSweepVerify|TestCrashes|TestRecoverIsKilled|TestVerifyFindsEveryFlippedBit)$$

.DEFAULT_GOAL := help
.PHONY: help build build-opencv deps-opencv deps-stack test test-opencv test-readers test-stack test-rules race lint lint-opencv fuzz chaos sweep recover-bench compare-kill isolation soak traffic bench bench-machine demo clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## static binaries in bin/: acquire, writer, analyze, sluice
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(BINS:%=./cmd/%)

build-opencv: build ## the same, with an acquire that reads video files, V4L2 devices and live URLs through OpenCV
	CGO_ENABLED=1 go build -trimpath -tags opencv -ldflags '$(LDFLAGS)' -o bin/ ./cmd/acquire

deps-opencv: ## install what build-opencv needs (Debian 12, Ubuntu 24.04; as root or through sudo)
	@sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; set -x; \
	$$sudo apt-get update -q && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
		g++ pkg-config libopencv-dev libopencv-contrib-dev opencv-doc ffmpeg

deps-stack: ## install what test-stack needs, and a small Debian into .cache (Debian 12; as root or through sudo)
	@sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; set -ex; mkdir -p .cache; \
	$$sudo apt-get update -q; \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
		docker.io docker-compose debootstrap iproute2 iptables; \
	[ -e .cache/debian-bookworm.tar ] || { \
		eval "$$(apt-config shell http_proxy Acquire::http::Proxy)"; export http_proxy; \
		dir=$$(mktemp -d); \
		$$sudo env http_proxy="$$http_proxy" debootstrap --variant=minbase --include=make bookworm $$dir/root; \
		$$sudo tar --create --file .cache/debian-bookworm.tar.new --directory $$dir/root \
			--exclude './usr/share/doc/*' --exclude './usr/share/man/*' --exclude './usr/share/locale/*' \
			--exclude './var/cache/apt/*' --exclude './var/lib/apt/lists/*' .; \
		$$sudo rm -rf $$dir; \
		mv .cache/debian-bookworm.tar.new .cache/debian-bookworm.tar; \
	}

test: $(TESTCOUNT) ## vet and all tests, with their number; nothing may be skipped
	CGO_ENABLED=0 go vet $(PKGS)
	CGO_ENABLED=0 $(TESTCOUNT) $(PKGS)

test-opencv: $(TESTCOUNT) ## the tests of the OpenCV build: real video against FFmpeg (needs deps-opencv)
	CGO_ENABLED=1 $(TESTCOUNT) -tags opencv $(OPENCV_PKGS)

test-readers: $(TESTCOUNT) ## read stores back with zarrita, chunks with c-blosc and zstd (needs node, npm, python3, libblosc1, libzstd1)
	npm ci --prefix test/readers --no-audit --no-fund --loglevel=error
	CGO_ENABLED=0 $(TESTCOUNT) -tags readers ./test/readers/...

test-stack: $(TESTCOUNT) ## run docker-compose.yml on a Docker engine of its own (needs root and deps-stack)
	CGO_ENABLED=0 $(TESTCOUNT) -timeout 20m -tags stack ./test/stack/...

test-rules: ## try deploy/prometheus and the dashboard's queries in Prometheus' own engine (loads its modules)
	CGO_ENABLED=0 go test -C tools/rules -count 1 ./...

race: $(TESTCOUNT) ## what runs in a test's own process, under the race detector; sweeps meet a tenth (needs a C compiler)
	CGO_ENABLED=1 $(TESTCOUNT) -race -short $(RACE_PKGS)

lint: $(LINT) ## golangci-lint, in the version that tools/go.mod pins
	$(LINT) run $(PKGS)

lint-opencv: $(LINT) ## the same for what only the OpenCV build sees (needs deps-opencv)
	CGO_ENABLED=1 $(LINT) run --build-tags opencv $(OPENCV_PKGS)

$(LINT): tools/go.mod tools/go.sum
	CGO_ENABLED=0 go build -C tools -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(TESTCOUNT): tools/testcount/main.go
	@CGO_ENABLED=0 go build -C tools -o ../$@ ./testcount

fuzz: ## every fuzz target for FUZZTIME (10s)
	@set -e; for pkg in $$(go list $(PKGS)); do \
		for f in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

chaos: ## CHAOS=30 runs whose processes and broker are killed and stopped at random; SLUICE_CHAOS_SEED=N repeats one
	SLUICE_CHAOS=$(CHAOS) CGO_ENABLED=0 go test -count 1 -timeout 180m -run '^TestChaos$$' -v ./test/chaos

isolation: ## what a stopped and a slow analyser do to the writer, at 60 % of what the disk takes: ISOLATION=5 pairs of runs of each
	SLUICE_ISOLATION=$(ISOLATION) CGO_ENABLED=0 go test -count 1 -timeout 60m -run '^TestIsolation$$' -v ./test/isolation

soak: ## an hour with a slow consumer coming and going: SOAK=60m SOAK_RATE=100MB (a second); figures and plot in .cache/soak
	SLUICE_SOAK=$(SOAK) SLUICE_SOAK_RATE=$(SOAK_RATE) SLUICE_SOAK_OUT=$(abspath $(SOAK_OUT)) CGO_ENABLED=0 go test -count 1 -timeout 48h -run '^TestSoak$$' -v ./test/soak

sweep: ## fault sweeps and crash clones of the store, with their counts
	CGO_ENABLED=0 go test -count 1 -run '$(SWEEP)' -v ./internal/store | grep -v '^=== '

recover-bench: ## kill runs of 10 GiB and say what recovering and verifying them takes (needs 15 GiB in TMPDIR)
	CGO_ENABLED=0 go test -count 1 -tags figures -run '^TestFigureRecovery$$' -v ./test/operator

compare-kill: ## kill a run at full speed and say what is gone, in the form of docs/reliability.md (needs 8 GiB in TMPDIR)
	CGO_ENABLED=0 go test -count 1 -tags figures -run '^TestFigureKill$$' -v ./test/operator

traffic: ## what a camera costs the broker and its processes: messages, bytes, processor time, memory (four minutes)
	CGO_ENABLED=0 go test -count 1 -tags figures -run '^TestFigure' -v ./test/scaling

bench: ## a change's before and after: BENCH=name PKGS=./internal/x COUNT=10 BENCHTIME=1s; compare with `go tool -modfile=tools/go.mod benchstat`
	CGO_ENABLED=0 go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -count $(COUNT) -benchmem $(PKGS)

bench-machine: build ## what users measure: BENCH_OUT=folder on the disk (.cache), BENCH_FLAGS='--pairs 3 --only "256 KiB"'; results in .cache/bench.json
	mkdir -p $(BENCH_OUT)
	bin/sluice bench all --out $(BENCH_OUT) --record .cache/bench.json $(BENCH_FLAGS)

demo: build ## ten seconds of a simulated camera through three processes to disk and to spectra
	bin/sluice run --source '$(DEMO_SOURCE)' $(DEMO_FLAGS) --out $(DEMO_OUT)

clean: ## remove bin/ and .cache/, not data/
	rm -rf bin .cache
