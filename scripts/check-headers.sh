#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Checks that each header compiles alone, with the kernel's flags, or with those of
# the host tests if it is under tests/. Prints the headers that do not.

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
	# Programs of their own, with headers of their own.
	guests/*) flags="$kernel -Iguests/lib" ;;
	*) flags=$kernel ;;
	esac
	count=$((count + 1))
	# Included, not compiled itself: gcc warns about a header that is the main file.
	# shellcheck disable=SC2086
	echo "#include \"$header\"" | gcc $flags -x c - || {
		echo "headers: $header does not compile alone" >&2
		failed=$((failed + 1))
	}
done

echo "headers: $count checked, $failed failed"
[ $failed -eq 0 ]
