# "make" alone lists what there is. The work is in scripts/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help up down logs reset test lint bench

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up:  ## bring the whole stack up, install what is missing, print the first call
	@scripts/up.sh

down:  ## stop the stack; data stays
	@scripts/down.sh

logs:  ## follow the logs of all parts
	@scripts/logs.sh

reset:  ## delete the stack's containers and data; FORCE=1 does not ask
	@scripts/reset.sh

test:  ## every check and every test, on an instance of its own
	@scripts/test.sh

lint:  ## formatting, lint, types, import rules
	@scripts/lint.sh

bench:  ## measure calls a second beside a plain dialplan; writes bench/report.md
	@scripts/bench.sh $(ARGS)
