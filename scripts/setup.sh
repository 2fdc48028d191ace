#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Makes a Debian 12 machine ready for Quire: installs the missing packages of the
# list below, and fetches Debian's cloud kernel, which it unpacks under build/debian
# and never installs. Says what it does and why before it does it. If nothing is
# missing it returns at once and needs no network.

set -eu
cd "$(dirname "$0")/.."

DEBIAN=build/debian
KERNEL_META=linux-image-cloud-amd64

# name                what for
packages=$(cat <<'LIST'
gcc                   compiles the kernel, the guests and the host tests
libc6-dev             C headers for the host tests
make                  runs the Makefile
binutils              linker, assembler, objcopy, nm
git                   names the version in the first boot line; lists the files to check
python3               the scripts
qemu-system-x86       emulates a machine with AMD-V
seabios               its BIOS
ovmf                  its UEFI firmware
bochs                 emulates machines with VT-x, and with AMD-V a second time
bochsbios             its BIOS
bochs-term            its display that needs no window system
vgabios               its video BIOS
grub-common           grub-mkrescue, which makes the boot image
grub-pc-bin           GRUB for BIOS, in the boot image
grub-efi-amd64-bin    GRUB for UEFI, in the boot image
xorriso               writes the boot image for grub-mkrescue
mtools                writes the EFI partition in the boot image
busybox-static        the programs in the guests' initial file system
cpio                  lists initial file systems while debugging
libxxhash-dev         XXH3, compiled into the sharing scanner (header only)
libcmocka-dev         the framework of the host tests
spin                  searches the models of the protocols between threads
python3-pytest        runs the system tests
python3-pytest-xdist  runs two system tests at a time
python3-pexpect       drives the interactive terminal in tests
clang                 checks lock annotations (make analyze)
clang-format          checks the format of C files (make format)
acpica-tools          iasl, which reads back the ACPI tables that guests see
LIST
)

say()
{
	echo "setup: $*" >&2
}

fail()
{
	say "$*"
	exit 1
}

# Runs a command as root.
as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		fail "'$*' needs root: run this as root once, or install sudo"
	fi
}

package_names()
{
	echo "$packages" | awk 'NF { print $1 }'
}

# Prints the packages of the list that are not installed.
missing_packages()
{
	# One query for all packages; dpkg-query reports unknown names on stderr only.
	# shellcheck disable=SC2046
	installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $(package_names) 2>/dev/null |
		awk '$2 == "installed" { print $1 }' || true)
	for name in $(package_names); do
		case " $(echo $installed) " in
		*" $name "*) ;;
		*) echo "$name" ;;
		esac
	done
}

update_lists()
{
	[ -z "${lists_updated:-}" ] || return 0
	lists_updated=yes
	say "apt-get update"
	as_root apt-get -q update >&2 || say "the package lists could not be updated; going on with the old ones"
}

install_packages()
{
	missing=$(missing_packages)
	[ -n "$missing" ] || return 0
	command -v apt-get >/dev/null || fail "this needs Debian 12: there is no apt-get here"
	say "these packages are missing and will be installed:"
	for name in $missing; do
		echo "$packages" | grep "^$name " | sed 's/^/         /' >&2
	done
	update_lists
	unknown=
	for name in $missing; do
		apt-cache show "$name" >/dev/null 2>&1 || unknown="$unknown $name"
	done
	[ -z "$unknown" ] || fail "not in the package lists:$unknown: is this Debian 12, with 'main' enabled?"
	# shellcheck disable=SC2086
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -q install -y --no-install-recommends $missing >&2 || true
	missing=$(missing_packages)
	[ -z "$missing" ] || fail "cannot go on without: $(echo $missing) (apt-get could not install them)"
}

# Prints the name of the package on which the metapackage depends: the kernel itself.
kernel_package()
{
	apt-cache depends "$KERNEL_META" 2>/dev/null |
		awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9].*-cloud-amd64$/ { print $2; exit }'
}

# Downloads and unpacks the package; leaves the kernel as $DEBIAN/vmlinuz.
fetch_kernel()
{
	package=$(kernel_package)
	if [ -z "$package" ]; then
		update_lists
		package=$(kernel_package)
	fi
	[ -n "$package" ] || return 1
	say "downloading $package: the guests' kernel (unpacked into $DEBIAN, not installed)"
	mkdir -p $DEBIAN/new
	(cd $DEBIAN/new && apt-get -q -o APT::Sandbox::User=root download "$package" >&2) || {
		update_lists
		(cd $DEBIAN/new && apt-get -q -o APT::Sandbox::User=root download "$package" >&2) || return 1
	}
	dpkg-deb --fsys-tarfile $DEBIAN/new/*.deb | tar -xf - -C $DEBIAN/new ./boot || return 1
	mv $DEBIAN/new/boot/vmlinuz-* $DEBIAN/vmlinuz
	echo "$package" > $DEBIAN/package
}

get_kernel()
{
	# With QUIRE_NEW_KERNEL=1 a newer kernel is looked for even if there is one.
	if [ -f $DEBIAN/vmlinuz ] && [ -z "${QUIRE_NEW_KERNEL:-}" ]; then
		return 0
	fi
	rm -rf $DEBIAN/new
	if ! fetch_kernel; then
		[ -f $DEBIAN/vmlinuz ] ||
			fail "$KERNEL_META could not be downloaded: check the network and /etc/apt/sources.list"
		say "no new kernel could be downloaded; going on with $(cat $DEBIAN/package)"
	fi
	rm -rf $DEBIAN/new
}

install_packages
get_kernel
