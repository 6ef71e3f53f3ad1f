# Waver's commands. Every target works from a fresh clone, in a path with spaces too.
.POSIX:
.PHONY: help setup run test test-operations check serve ui prove zoo benchmark benchmark-damage benchmark-duplicates benchmark-finetune benchmark-infer benchmark-orchestration benchmark-runner chaos lock clean

WORLD = .waver/sandbox

help:           ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'

setup:          ## create .venv from the lock file, and install ffmpeg if possible
	@infra/setup.sh

run: setup      ## the whole pipeline on the sandbox data set
	@.venv/bin/python -m infra.sandbox.world --out $(WORLD)
	@.venv/bin/waver run --data $(WORLD) --profile sandbox

test: setup     ## all tests but the longest scenarios of operation
	@infra/test_programs.sh
	@.venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-operations: setup ## the longest scenarios of operation: servers, schedules, the UI, PostgreSQL, Ray, kills, a full disk
	@infra/test_programs.sh
	@.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m operations

check: setup    ## lint, types, layers
	@infra/check.sh

prove: setup    ## verify that the sandbox's label is learned only with video and audio (about 6 minutes)
	@.venv/bin/python -m infra.sandbox.world --out $(WORLD)
	@.venv/bin/python -m infra.sandbox.measure_speech
	@.venv/bin/python -m infra.sandbox.prove --data $(WORLD)

zoo: setup      ## every awkward video through the segment stage: a table of inputs and outcomes
	@rm -rf .waver/zoo
	@.venv/bin/python -m infra.zoo --out .waver/zoo

benchmark: setup ## CPU seconds per minute of video: Waver, pure decoding, the paper's way (about 5 minutes)
	@.venv/bin/python -m infra.benchmarks.segment

benchmark-finetune: setup ## training in samples and tokens per second: Waver, and transformers' Trainer (about 10 minutes)
	@.venv/bin/python -m infra.sandbox.world --out $(WORLD)
	@.venv/bin/python -m infra.benchmarks.finetune --data $(WORLD)

benchmark-infer: setup ## inference in segments per second: the stage, the bare engine, one at a time (about 10 minutes)
	@.venv/bin/python -m infra.benchmarks.infer --layers 30 --segments 300 --restart

benchmark-damage: setup ## quality of the frames of damaged videos that are kept, for twelve codecs (about 10 minutes)
	@.venv/bin/python -m infra.benchmarks.damage

benchmark-duplicates: setup ## copies found and innocent pairs called copies, on a generated set; time to compare 10,000 videos (about 10 minutes)
	@.venv/bin/python -m infra.benchmarks.duplicates

benchmark-orchestration: setup ## wall and CPU seconds and memory of runs with nothing to do (about an hour)
	@.venv/bin/python -m infra.benchmarks.orchestration

benchmark-runner: setup ## overhead of the Ray runner against local threads on this computer (about 10 minutes)
	@.venv/bin/python -m infra.benchmarks.runner

serve: setup    ## server and workers on this computer, for scheduled runs: until Ctrl-C
	@.venv/bin/waver serve

ui: setup       ## the Prefect UI on the runs made here
	@.venv/bin/waver ui

chaos: setup ## full and read-only disks, moved clocks and 50 kills during sandbox runs, and what they end with (about an hour)
	@.venv/bin/python -m infra.benchmarks.chaos

lock: setup     ## resolve the dependencies again
	@infra/lock.sh

clean:          ## remove the sandbox data set, the zoo, the store and the history; keep .venv
	@rm -rf .waver/sandbox .waver/zoo .waver/duplicates .waver/store .waver/prefect
