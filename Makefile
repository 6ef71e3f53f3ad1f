# Waver's commands. Every target works from a fresh clone, in a path with spaces too.
.POSIX:
.PHONY: help setup run test check ui prove zoo benchmark benchmark-finetune benchmark-infer lock clean

WORLD = .waver/sandbox

help:           ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'

setup:          ## make .venv from the lock file, and see to ffmpeg
	@infra/setup.sh

run: setup      ## the whole pipeline on the sandbox world
	@.venv/bin/python -m infra.sandbox.world --out $(WORLD)
	@.venv/bin/waver run --data $(WORLD) --profile sandbox

test: setup     ## all tests
	@.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: setup    ## lint, types, layers
	@infra/check.sh

prove: setup    ## the sandbox's label is learned, and only with video and audio (about 6 minutes)
	@.venv/bin/python -m infra.sandbox.world --out $(WORLD)
	@.venv/bin/python -m infra.sandbox.measure_speech
	@.venv/bin/python -m infra.sandbox.prove --data $(WORLD)

zoo: setup      ## every awkward video through the segment stage: a table of inputs and outcomes
	@rm -rf .waver/zoo
	@.venv/bin/python -m infra.zoo --out .waver/zoo

benchmark: setup ## CPU seconds per minute of video: ours, pure decoding, the paper's way (about 5 minutes)
	@.venv/bin/python -m infra.benchmarks.segment

benchmark-finetune: setup ## training in samples and tokens a second: ours, and transformers' Trainer (about 10 minutes)
	@.venv/bin/python -m infra.sandbox.world --out $(WORLD)
	@.venv/bin/python -m infra.benchmarks.finetune --data $(WORLD)

benchmark-infer: setup ## inference in segments a second: the stage, the bare engine, one at a time (about 10 minutes)
	@.venv/bin/python -m infra.benchmarks.infer --layers 30 --segments 300 --restart

ui: setup       ## the Prefect UI on the runs made here
	@.venv/bin/waver ui

lock: setup     ## resolve the dependencies anew
	@infra/lock.sh

clean:          ## remove the sandbox world, the zoo and the store; .venv stays
	@rm -rf .waver/sandbox .waver/zoo .waver/store .waver/prefect
