# `make` or `make help` names the targets.
CARGO ?= cargo

# Options of the demonstration, such as --users 2000.
DEMO ?=

# How much test-databases, test-faults and test-versions try: short or long.
FORM ?= short

.DEFAULT_GOAL := help
.PHONY: help tools demo test test-attacks test-databases test-faults test-versions build lint fmt doc bench bench-quick bench-stores bench-sandbox peers pictures screen-pictures mail-pictures page-check coverage mutants fuzz deny package package-smoke deploy-check image-smoke try-changes clean

help: ## Name the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

tools: ## Install PostgreSQL's programs and what building needs where they are missing
	@tools/install-postgres.sh

demo: ## A sample hub backed up, restored with plain tools and from an S3 server alone, compared
	@tools/install-postgres.sh demo
	@[ -e target/debug/hubvault ] || echo "Building takes about 3 minutes on two processors, the demonstration about a minute."
	$(CARGO) build -p hubvault --locked
	target/debug/hubvault demo $(DEMO) $$([ ! -x target/stores/seaweedfs/weed ] || echo --s3-server target/stores/seaweedfs/weed)

test: tools ## The whole suite, against a PostgreSQL that it starts itself
	@CARGO="$(CARGO)" tools/test.sh

test-attacks: tools ## Attacks by database owners, local users, archives and tokens, in two minutes (root)
	$(CARGO) test -p hubvault --test attacks --locked -- --test-threads $$((2 * $$(nproc)))

test-databases: tools ## Databases in the manner of real ones, backed up, restored twice and compared; FORM=long: large ones, PostGIS, other versions
	HUBVAULT_DATABASES=$(FORM) $(CARGO) test -p hubvault --test databases --locked -- --test-threads 2 --show-output

test-faults: tools ## Faults injected and counted, in minutes; FORM=long: in full (target/reliability)
	HUBVAULT_FAULTS=$(FORM) $(CARGO) test -p hubvault --test faults --locked -- --test-threads 4

test-versions: ## PostgreSQL 13 to 18 as source and target, pgbouncer, standbys; FORM=long: every pair, and the suite on each
	@tools/install-postgres.sh versions
	HUBVAULT_VERSIONS=$(FORM) $(CARGO) test -p hubvault --test versions --locked -- --nocapture
	@[ $(FORM) != long ] || CARGO="$(CARGO)" tools/suite-on-versions.sh

build: ## The program, for use: target/release/hubvault
	$(CARGO) build --release --locked

lint: ## Formatting and lints, warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy -p hubvault --test versions --locked -- -D warnings
	$(CARGO) clippy -p hubvault --test faults --locked -- -D warnings
	$(CARGO) clippy -p hubvault --test attacks --locked -- -D warnings
	@# Checked and not linked: libFuzzer, which needs a C++ compiler, is built only by those who fuzz.
	CUSTOM_LIBFUZZER_PATH=not-linked/libfuzzer.a $(CARGO) check --manifest-path fuzz/Cargo.toml --locked --target-dir target

fmt: ## Format the sources
	$(CARGO) fmt

doc: ## The documentation of the crates, warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

bench: tools peers build ## hubvault beside its peers, in full: about an hour, 30 GB of disk; writes bench/RESULTS.md and .svg
	bench/run.py --impact --flat --large 10500 --catalog 10000

bench-quick: tools peers build ## The same at a twentieth of the size, in under three minutes after the build
	bench/run.py --scale 0.05 --sizes full --rounds 2 --large 200 --out target/bench-quick.md
	@cat target/bench-quick.md

bench-stores: tools build ## Copies in an S3 server beside rclone and aws, restores from it, ten thousand backups: bench/STORES.md
	tools/fetch-stores.sh seaweedfs
	bench/stores.py

peers:
	@tools/install-postgres.sh peers

bench-sandbox: tools build ## What the drill's sandbox costs: drills with and without it, in turn
	bench/sandbox.py

pictures: tools build ## The pictures of the README, from a real backup, its mail and the page (needs chromium): docs/pictures
	python3 -B tools/pictures.py target/release/hubvault docs/pictures
	tools/page-check.sh target/release/hubvault target/page-pictures
	cp target/page-pictures/page.png docs/pictures/page.png

screen-pictures: tools build ## Every screen with 80 and 120 columns, light and dark: target/screen-pictures (needs chromium)
	python3 -B tools/pictures.py target/release/hubvault target/screen-pictures --screens

mail-pictures: build ## Every mail as a phone and a desktop show it, light and dark: target/mail-pictures
	tools/mail-pictures.sh target/release/hubvault target/mail-pictures

page-check: build ## The page of a sample hub in a browser: accessibility, sizes, without JavaScript; its pictures: target/page-pictures
	tools/page-check.sh target/release/hubvault target/page-pictures

coverage: tools ## Lines that the tests run, by crate: target/coverage (needs LLVM 19's llvm-cov)
	tools/coverage.sh

mutants: ## Small changes to the code that no test notices, by file; FILES=... for some: target/mutants (needs cargo-mutants)
	tools/mutants.sh $(FILES)

# How long fuzz tries each of its targets.
SECONDS ?= 60
fuzz: ## Hostile input for every reader, SECONDS=60 each, on the stable compiler: target/fuzz
	SECONDS_EACH=$(SECONDS) tools/fuzz.sh

deny: ## Licences, sources and duplicates of the dependencies (needs cargo-deny)
	$(CARGO) deny check bans licenses sources

package: ## What a release offers: Debian package, tar, bill of materials: target/package
	tools/package.sh

package-smoke: package ## Install the Debian package on a fresh Debian 12 and take a proven backup (root)
	tools/package-smoke.sh

deploy-check: ## Compose files, Kubernetes objects, workflows, systemd unit and scripts against their schemas
	tools/check.sh

image-smoke: ## Build the image and take a drilled backup in it, without a container engine (root, Debian 12)
	tools/image-smoke.sh

try-changes: tools ## Apply the examples of docs/contributing-map.md to a copy, build it, run their tests: minutes
	CARGO="$(CARGO)" tools/try-changes.sh

clean: ## Remove what was built
	$(CARGO) clean
