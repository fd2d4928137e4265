#!/usr/bin/env bash
# Instructions and allocations per item, memory per member. Needs valgrind.
#
#   benches/peers/instructions.sh            all columns: takes minutes
#   benches/peers/instructions.sh --memory   memory alone: takes seconds
#   benches/peers/instructions.sh --check    ours against instructions.expected: takes seconds, fails above 3 %
#   benches/peers/instructions.sh --update   writes instructions.expected anew
set -euo pipefail
cd "$(dirname "$0")"
exec cargo run --quiet --release --locked --bin instructions -- "$@"
