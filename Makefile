# Each target is one line that calls something readable in workshop/. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-down test bench verify lock generate manifests images

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: ## Make .venv with everything that works on the project
	@workshop/setup

demo: setup ## Start a cluster, install Housekeeper on it and show it at work (CONTEXT=… uses your own cluster)
	@.venv/bin/python -m workshop.demo up

demo-down: setup ## Remove what `make demo` made
	@.venv/bin/python -m workshop.demo down

test: setup ## Run all tests, on a cluster of their own
	@workshop/test $(PYTEST)

bench: setup ## Measure against find (BENCH="--only scan-warm --runs 3 --scale 0.1"); as root with cold caches too
	@.venv/bin/python -m tests.benchmarks $(BENCH)

verify: setup ## Check format, types, import arrows, generated files, chart and documents
	@.venv/bin/python -m workshop.verify

lock: setup ## Pin the dependencies again (UPGRADE=1 takes newer ones)
	@workshop/lock

generate: setup ## Write every file that is made from another one
	@.venv/bin/python -m workshop.generate

manifests: setup ## Write dist/housekeeper.yaml, for kubectl apply --server-side (HELM_ARGS="--set …")
	@.venv/bin/python -m workshop.manifests $(HELM_ARGS)

images: setup ## Build both images with the tools of the embedded cluster
	@tests/cluster/cluster images
