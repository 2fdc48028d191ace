#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs two analysers over the kernel's C files: clang's -Wthread-safety checks the
# lock annotations of <quire/compiler.h>, and gcc's -fanalyzer follows paths through
# functions. Slow: run it by hand, and before a release.

set -eu
cd "$(dirname "$0")/.."

flags="-std=gnu17 -ffreestanding -mcmodel=kernel -mno-red-zone -mgeneral-regs-only -fno-pie
       -Wall -Wextra -I. -Iinclude -idirafter arch/x86_64 -DCONFIG_DEBUG=1 -DGMM_CHUNK_SHIFT=21
       -DQUIRE_VERSION=\"analysis\""
failed=0

folders=$(awk '$1 !~ /^#/ && $1 != "tests" { print $2 }' scripts/layers.conf)
# shellcheck disable=SC2086
for file in $(git ls-files -co --exclude-standard $folders | grep '\.c$' | grep -v '/asm_offsets\.c$'); do
	# shellcheck disable=SC2086
	clang $flags -fsyntax-only -Wthread-safety -Werror=thread-safety "$file" || failed=$((failed + 1))
	# shellcheck disable=SC2086
	gcc $flags -O1 -fanalyzer -Werror -c -o /dev/null "$file" || failed=$((failed + 1))
done

echo "analyze: $failed complaints"
[ $failed -eq 0 ]
