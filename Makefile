# Thin over meson and ninja: `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := all
MAKEFLAGS += --no-print-directory

PREFIX ?= /usr/local
DESTDIR ?=
BUILD := build

# configure(FOLDER, OPTIONS): sets a build folder up, once; ninja itself notices changed meson files.
define configure
	@if [ ! -e $(1)/build.ninja ]; then \
		command -v meson >/dev/null && command -v ninja >/dev/null || { echo "meson and ninja are missing: run 'make deps'" >&2; exit 1; }; \
		rm -rf $(1); meson setup $(1) $(2) >$(1).log 2>&1 || { cat $(1).log >&2; rm -rf $(1) $(1).log; exit 1; }; rm -f $(1).log; \
	fi
endef

all: ## build/slipway and build/slipway-executor
	$(call configure,$(BUILD),--buildtype=debugoptimized)
	@ninja -C $(BUILD)

demo: ## everything from nothing: install, build, start, deploy examples/hello-yaml, follow its log
	@tools/demo

stop: ## stop what `make demo` started
	@tools/stop

check: ## install what the tests need, and pass all of them
	@tools/check

lint: ## layout, rooms, headers alone, banned functions, SQL only under sql/
	@tools/lint

format: ## lay the C sources out with clang-format
	@tools/lint --fix

bench: all ## print the figures: start, memory, updates over HTTP and with the real CLI, beside their peers
	@bench/run

check-crash: sanitize ## kill the server CRASH_KILLS times (200) under load, and compare it with what was acknowledged
	@tests/fault/run

check-chaos: sanitize ## kill server, runners and executors CHAOS_KILLS times (200) under deployments: none runs twice, nothing is lost or left
	@tests/fault/run-chaos

check-packaging: all ## the systemd units, and compose.yaml on a Docker engine of its own: build, start, deploy (some minutes, as root)
	@tools/check-packaging

fuzz: ## fuzz every parser of foreign bytes, FUZZ_SECONDS each (60)
	@tools/fuzz $(or $(FUZZ_SECONDS),60)

soak: ## many more random journals than `make check` replays beside the CLI's own code: SOAK_JOURNALS (100000) or SOAK_SECONDS
	@tests/oracle/run $(if $(SOAK_SECONDS),$(SOAK_SECONDS)s,$(or $(SOAK_JOURNALS),100000)) $(or $(SOAK_SEED),$$(date +%s))

sanitize: ## the build that the tests run on: AddressSanitizer, UBSan, a clock that tests can move
	$(call configure,build-asan,-Db_sanitize=address$(comma)undefined -Dtest_clock=true)
	@ninja -C build-asan

deps: ## install what the build and the programs need, from the distribution's packages
	@tools/install-deps build run

install: all ## install below DESTDIR/PREFIX (PREFIX=/usr/local)
	@install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/share/doc/slipway" "$(DESTDIR)$(PREFIX)/lib/systemd/system" "$(DESTDIR)$(PREFIX)/lib/sysusers.d"
	@install -m 755 $(BUILD)/slipway $(BUILD)/slipway-executor "$(DESTDIR)$(PREFIX)/bin/"
	@install -m 644 README.md LICENSE docs/install.md "$(DESTDIR)$(PREFIX)/share/doc/slipway/"
	@for unit in slipway slipway-agent; do \
		sed -e 's|@bindir@|$(PREFIX)/bin|g' -e 's|@docdir@|$(PREFIX)/share/doc/slipway|g' packaging/systemd/$$unit.service \
			>"$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit.service"; \
	done
	@install -m 644 packaging/systemd/slipway.sysusers "$(DESTDIR)$(PREFIX)/lib/sysusers.d/slipway.conf"
	@echo "installed below $(DESTDIR)$(PREFIX)"

clean: ## remove what was built (data folders and the cache stay)
	@rm -rf build build-asan build-tsan build-clang

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

comma := ,
.PHONY: all demo stop check check-crash check-chaos check-packaging lint format bench fuzz soak sanitize deps install clean help
