#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Each header must compile alone, with the flags of the kernel (those of the
# host tests for headers under tests/). Prints the ones that do not.

set -eu
cd "$(dirname "$0")/.."

common="-std=gnu17 -Wall -Wextra -Werror -fsyntax-only -I. -Iinclude"
kernel="$common -ffreestanding -mcmodel=kernel -fno-pie -mgeneral-regs-only -idirafter arch/x86_64"
failed=0
count=0

for header in $(git ls-files -co --exclude-standard '*.h'); do
	[ -f "$header" ] || continue
	case $header in
	tests/*) flags="$common -Itests/host" ;;
	# Small programs of their own, each folder with its own headers.
	guests/*) flags="$kernel -Iguests/lib" ;;
	*) flags=$kernel ;;
	esac
	count=$((count + 1))
	# Included from a file of its own: a header that is the main file would be warned about.
	# shellcheck disable=SC2086
	echo "#include \"$header\"" | gcc $flags -x c - || {
		echo "headers: $header does not compile alone" >&2
		failed=$((failed + 1))
	}
done

echo "headers: $count checked, $failed failed"
[ $failed -eq 0 ]
