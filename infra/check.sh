#!/usr/bin/env bash
# Every check that runs no test: lint, format, types, levels of rooms, vocabulary.
set -euo pipefail
cd "$(dirname "$0")/.."

# Words that Waver's vocabulary replaces, as whole words or parts of identifiers: one concept has
# one term. Model prompts and the sandbox's spoken sentences are data and may contain them.
retired='pictures?|sounds?|asks?|asked|asking|wanted|tells?|told|telling|says?|said|saying|begun|deals?|dealt|dealing'
retired+='|machines?|forgets?|forgot|forgotten|forgetting|lays?|laid|mends?|mended|spoils?|spoilt|spoiled|bears?|borne'
retired+='|refuses?|refused|refusal|blind|blindly|deaf|untimed|census|culprits?|spared|drawn|judges?|judged|watching|pace'
retired+='|(?<!in )(?<!in-)places?|placed|shares?'
check_vocabulary() {
    ! git grep -nIP "(?<![A-Za-z])(?i:$retired)(?![A-Za-z])|(?<=[a-z])(Picture|Sound|Asked|Told|Begun|Dealt|Place|Share)s?(?![a-z])|\"\"\"(Give|Lay)s? " \
        -- ':!*.txt' ':!*.json' ':!*.lock' ':!LICENSE' ':!infra/check.sh' ':!infra/sandbox/sentences.py' ':!infra/sandbox/omni/questions.py' ||
        { echo "Retired words above: use the term that the code around them uses." >&2; return 1; }
}

.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/lint-imports
check_vocabulary
