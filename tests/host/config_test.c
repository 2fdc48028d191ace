/* SPDX-License-Identifier: MIT */
/*
 * quire.conf: everything that can be wrong in an operator's file is refused, with words that say
 * where; what is right arrives as it was written. Input lies in heap blocks of exactly its size.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "seam/seam.h"
#include "test.h"

#include "lib/error_text.h"
#include "operator/config.h"
#include "vm/load/module.h"

static struct error_text error;

static void *exact_copy(const void *data, size_t size_bytes)
{
	void *copy = malloc(size_bytes ? size_bytes : 1);
	assert_non_null(copy);
	memcpy(copy, data, size_bytes);
	return copy;
}

/* --- quire.conf ------------------------------------------------------------------------------- */

#define VM_MAX 4u

static struct config_vm vms[VM_MAX];
static struct config config;

static q_status_t parse_bytes(const void *text, size_t size_bytes)
{
	void *copy = exact_copy(text, size_bytes);
	memset(vms, 0xa5, sizeof(vms));
	config = (struct config){ .vms = vms, .vm_max = VM_MAX };
	strcpy(error.text, "untouched");
	q_status_t status = config_parse(copy, size_bytes, &config, &error);
	free(copy);
	return status;
}

static q_status_t parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

#define GOOD_VM "[vm a]\nkernel = vmlinuz\nmemory = 64M\n"

TEST(config, defaults_are_as_documented)
{
	assert_int_equal(parse(GOOD_VM), Q_OK);
	EXPECT(config.vm_count == 1);
	EXPECT(strcmp(vms[0].config.name, "a") == 0 &&
	       strcmp(vms[0].config.kernel, "vmlinuz") == 0);
	EXPECT(vms[0].config.initrd[0] == 0 && vms[0].config.cmdline[0] == 0 &&
	       vms[0].config.firmware[0] == 0);
	EXPECT(vms[0].config.memory_bytes == 64ull << 20 &&
	       vms[0].config.reserve_bytes == 16ull << 20);
	EXPECT(vms[0].config.overcommit == GMM_OVERCOMMIT_FULL &&
	       strcmp(vms[0].config.share, "default") == 0);
	EXPECT(vms[0].config.priority == GMM_PRIORITY_NORMAL);
	EXPECT(vms[0].config.vcpu_count == 1 && vms[0].config.serial == SERIAL_CONSOLE);
	EXPECT(vms[0].config.autostart && vms[0].config.on_reset == VM_ON_RESET_RESTART);
	EXPECT(!vms[0].config.debug_exit && !vms[0].config.debug_console);
	EXPECT(config.system.scan && config.system.scan_cpu_percent == 2);
	EXPECT(strcmp(config.system.attach, "a") == 0);
	EXPECT(strcmp(error.text, "untouched") == 0);
}

TEST(config, every_key_arrives)
{
	assert_int_equal(
		parse("# two of them\r\n"
		      "\t[machine]  \n"
		      "scan=off\nscan-cpu = 100\nattach = b-2\n\n"
		      "[ vm  a ]\n"
		      "kernel = k\ninitrd = i\ncmdline = console=ttyS0 quiet # all of it \n"
		      "memory = 1G\nreserve = 4K\novercommit = zero-and-shared\n"
		      "priority = high\n"
		      "share = none\nvcpus = 32\nserial = com2\nautostart = no\n"
		      "on-reset = stop\ndebug-exit = on\ndebug-console = on\n"
		      "[vm b-2]\r\nfirmware = bios\r\nmemory = 62G\r\n"
		      "overcommit = none\r\npriority=low\nshare = lab"),
		Q_OK);
	EXPECT(config.vm_count == 2 && !config.system.scan);
	EXPECT(config.system.scan_cpu_percent == 100);
	EXPECT(strcmp(config.system.attach, "b-2") == 0);
	EXPECT(strcmp(vms[0].config.initrd, "i") == 0);
	EXPECT(strcmp(vms[0].config.cmdline, "console=ttyS0 quiet # all of it") == 0);
	EXPECT(vms[0].config.memory_bytes == 1ull << 30 && vms[0].config.reserve_bytes == 4096);
	EXPECT(vms[0].config.overcommit == GMM_OVERCOMMIT_ZERO_AND_SHARED &&
	       vms[0].config.share[0] == 0);
	EXPECT(vms[0].config.priority == GMM_PRIORITY_HIGH);
	EXPECT(vms[0].config.vcpu_count == 32 && vms[0].config.serial == SERIAL_COM2 &&
	       !vms[0].config.autostart);
	EXPECT(vms[0].config.on_reset == VM_ON_RESET_STOP && vms[0].config.debug_exit &&
	       vms[0].config.debug_console);
	EXPECT(strcmp(vms[1].config.firmware, "bios") == 0 &&
	       strcmp(vms[1].config.share, "lab") == 0);
	EXPECT(vms[1].config.reserve_bytes == 62ull << 30 &&
	       vms[1].config.priority == GMM_PRIORITY_LOW);
}

TEST(config, a_vm_is_bound_to_memory_of_its_own)
{
	EXPECT(parse(GOOD_VM "overcommit = none\nshare = none\nbound = 256M-1G\n") == Q_OK);
	EXPECT(vms[0].config.bound.is_bound && vms[0].config.bound.start == 256u << 20 &&
	       vms[0].config.bound.end == 1u << 30);
	EXPECT(parse(GOOD_VM "overcommit = none\nshare = none\nbound = yes\n") == Q_OK);
	EXPECT(vms[0].config.bound.is_bound && vms[0].config.bound.end == 0);
	EXPECT(parse(GOOD_VM "bound = no\n") == Q_OK && !vms[0].config.bound.is_bound);
}

TEST(config, empty_and_comment_only_files_are_no_vms)
{
	EXPECT(parse("") == Q_OK && config.vm_count == 0 && config.system.attach[0] == 0);
	EXPECT(parse("\n \t\n# x") == Q_OK && config.vm_count == 0);
}

TEST(config, a_quarter_is_rounded_up_to_pages)
{
	EXPECT(parse("[vm a]\nkernel = k\nmemory = 1028K\n") == Q_OK);
	EXPECT(vms[0].config.reserve_bytes == 260 * 1024);
}

TEST(config, attach_defaults_to_the_only_console)
{
	EXPECT(parse(GOOD_VM "[vm b]\nkernel = k\nmemory = 1M\n") == Q_OK);
	EXPECT(config.system.attach[0] == 0);
	EXPECT(parse(GOOD_VM "serial = log\n[vm b]\nkernel = k\nmemory = 1M\n") == Q_OK);
	EXPECT(strcmp(config.system.attach, "b") == 0);
}

TEST(config, what_is_wrong_is_refused_with_its_line)
{
	static const struct {
		const char *text;
		q_status_t status;
		const char *message; /* how it starts */
	} bad[] = {
		{ "memory = 1M\n", Q_INVALID, "quire.conf:1: a key before the first section" },
		{ "\n\nhello\n", Q_INVALID, "quire.conf:3: neither" },
		{ "[vm a\n", Q_INVALID, "quire.conf:1: ']' is missing" },
		{ "[]\n", Q_INVALID, "quire.conf:1: [" },
		{ "[vmx]\n", Q_INVALID, "quire.conf:1: [" },
		{ "[vm ]\n", Q_INVALID, "quire.conf:1: [" },
		{ "[vm A]\n", Q_INVALID, "quire.conf:1: 'A' is no name" },
		{ "[vm a b]\n", Q_INVALID, "quire.conf:1: 'a b' is no name" },
		{ "[vm a1234567890123456789012345678901]\n", Q_INVALID, "quire.conf:1: 'a12345" },
		{ "[machine]\n[machine]\n", Q_EXISTS, "quire.conf:2: section [machine]" },
		{ GOOD_VM "[vm a]\n", Q_EXISTS, "quire.conf:4: there is a VM 'a' already" },
		{ GOOD_VM "memory = 1M\n", Q_EXISTS,
		  "quire.conf:4: vm a: 'memory' is given twice" },
		{ GOOD_VM "colour = red\n", Q_NOT_FOUND, "quire.conf:4: vm a: no key 'colour'" },
		{ GOOD_VM "= red\n", Q_NOT_FOUND, "quire.conf:4: vm a: no key ''" },
		{ GOOD_VM "vcpus = 0\n", Q_RANGE, "quire.conf:4: vm a: vcpus = '0': must be" },
		{ GOOD_VM "vcpus = 33\n", Q_RANGE, "quire.conf:4: vm a: vcpus = '33': must be" },
		{ GOOD_VM "reserve = 1MB\n", Q_INVALID,
		  "quire.conf:4: vm a: reserve = '1MB': must be" },
		{ GOOD_VM "overcommit = half\n", Q_INVALID,
		  "quire.conf:4: vm a: overcommit = 'half'" },
		{ GOOD_VM "priority = urgent\n", Q_INVALID,
		  "quire.conf:4: vm a: priority = 'urgent'" },
		{ GOOD_VM "share = \n", Q_INVALID, "quire.conf:4: vm a: share = ''" },
		{ GOOD_VM "serial = com1\n", Q_INVALID, "quire.conf:4: vm a: serial = 'com1'" },
		{ GOOD_VM "autostart = on\n", Q_INVALID, "quire.conf:4: vm a: autostart = 'on'" },
		{ GOOD_VM "on-reset = halt\n", Q_INVALID, "quire.conf:4: vm a: on-reset = 'halt'" },
		{ GOOD_VM "debug-exit = yes\n", Q_INVALID,
		  "quire.conf:4: vm a: debug-exit = 'yes'" },
		{ GOOD_VM "initrd =\n", Q_INVALID, "quire.conf:4: vm a: initrd = ''" },
		{ "[vm a]\nkernel = k\n\n", Q_INVALID, "quire.conf:1: vm a: 'memory' is missing" },
		{ "\n[vm a]\nmemory = 1M\n" GOOD_VM, Q_INVALID, "quire.conf:2: vm a: 'kernel'" },
		{ GOOD_VM "firmware = f\n", Q_INVALID, "quire.conf:1: vm a: 'kernel' and" },
		{ "[vm a]\nfirmware = f\nmemory = 1M\ncmdline = x\n", Q_INVALID,
		  "quire.conf:1: vm a: 'initrd' and 'cmdline' need" },
		{ "[vm a]\nkernel = k\nmemory = 1023K\n", Q_INVALID,
		  "quire.conf:1: vm a: 'memory' must be at least 1M" },
		{ GMM_WORD_BITS == 64 ? "[vm a]\nkernel = k\nmemory = 261121M\n"
				      : "[vm a]\nkernel = k\nmemory = 63G\n",
		  Q_INVALID,
		  GMM_WORD_BITS == 64 ? "quire.conf:1: vm a: 'memory' must be at most 255G"
				      : "quire.conf:1: vm a: 'memory' must be less than 63G" },
		{ "[vm a]\nkernel = k\nmemory = 1048577\n", Q_INVALID,
		  "quire.conf:1: vm a: 'memory' and 'reserve' must be multiples" },
		{ GOOD_VM "reserve = 65M\n", Q_INVALID, "quire.conf:1: vm a: 'reserve' is more" },
		{ GOOD_VM "reserve = 1M\novercommit = none\n", Q_INVALID,
		  "quire.conf:1: vm a: 'overcommit = none'" },
		{ GOOD_VM "bound = yes\n", Q_INVALID, "quire.conf:1: vm a: 'bound' needs" },
		{ GOOD_VM "overcommit = none\nbound = yes\n", Q_INVALID,
		  "quire.conf:1: vm a: 'bound' needs" },
		{ GOOD_VM "bound = 2M-1M\n", Q_INVALID, "quire.conf:4: vm a: bound = '" },
		{ GOOD_VM "bound = 1M-\n", Q_INVALID, "quire.conf:4: vm a: bound = '" },
		{ GOOD_VM "bound = maybe\n", Q_INVALID, "quire.conf:4: vm a: bound = '" },
		{ "[machine]\nscan = yes\n", Q_INVALID,
		  "quire.conf:2: scan = 'yes': must be off or on" },
		{ "[machine]\nscan-memory = 2K\n", Q_RANGE,
		  "quire.conf:2: scan-memory = '2K': must be a number with K, M or G, from 4K to "
		  "4M" },
		{ "[machine]\nscan-memory = 5M\n", Q_RANGE,
		  "quire.conf:2: scan-memory = '5M': must be" },
		{ "[machine]\nscan-cpu = 101\n", Q_RANGE,
		  "quire.conf:2: scan-cpu = '101': must be a number from 1 to 100" },
		{ "[machine]\nmemory = 1M\n", Q_NOT_FOUND,
		  "quire.conf:2: no key 'memory'; there are scan, scan-cpu, scan-memory, attach" },
		{ "[machine]\nscan = on\nscan = on\n", Q_EXISTS,
		  "quire.conf:3: 'scan' is given twice" },
		{ "[machine]\nattach = b\n" GOOD_VM, Q_NOT_FOUND,
		  "quire.conf:2: attach = b: there is no such VM" },
		{ "[machine]\nattach = a\n" GOOD_VM "serial = log\n", Q_INVALID,
		  "quire.conf:2: attach = a: that VM has no" },
		{ GOOD_VM "cmdline = \x80\n", Q_INVALID, "quire.conf:4: not valid UTF-8" },
		{ "# \xc0\xaf\n", Q_INVALID, "quire.conf:1: not valid UTF-8" },
		{ "# \xed\xa0\x80\n", Q_INVALID, "quire.conf:1: not valid UTF-8" },
		{ "# \xf4\x90\x80\x80\n", Q_INVALID, "quire.conf:1: not valid UTF-8" },
		{ "# \xe2\x82", Q_INVALID, "quire.conf:1: not valid UTF-8" },
		{ "\n# \x1b[2J\n", Q_INVALID, "quire.conf:2: a control character" },
		{ "[vm a]\nkernel = k\nmemory = 1M\n[vm b]\nkernel = k\nmemory = 1M\n"
		  "[vm c]\nkernel = k\nmemory = 1M\n[vm d]\nkernel = k\nmemory = 1M\n[vm e]\n",
		  Q_LIMIT, "quire.conf:13: vm e: there may be at most 4 VMs" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		q_status_t status = parse(bad[i].text);
		if (status != bad[i].status ||
		    strncmp(error.text, bad[i].message, strlen(bad[i].message)))
			fail_msg("row %zu: status %d, '%s', not '%s'", i, status, error.text,
				 bad[i].message);
	}
}

TEST(config, text_may_be_utf8_and_must_not_hold_nul)
{
	EXPECT(parse("# \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80\n" GOOD_VM) == Q_OK);
	EXPECT(parse_bytes("# \0\n", 4) == Q_INVALID);
	EXPECT(strncmp(error.text, "quire.conf:1: a control", 23) == 0);
}

TEST(config, sizes_of_texts_are_limited)
{
	static char text[CONFIG_TEXT_MAX + 2];
	char value[2100];

	memset(value, 'x', sizeof(value));
	value[2047] = 0;
	snprintf(text, sizeof(text), GOOD_VM "cmdline = %s\n", value);
	EXPECT(parse(text) == Q_OK && strlen(vms[0].config.cmdline) == 2047);
	value[2047] = 'x';
	value[2048] = 0;
	snprintf(text, sizeof(text), GOOD_VM "cmdline = %s\n", value);
	EXPECT(parse(text) == Q_RANGE);
	EXPECT(strncmp(error.text, "quire.conf:4: vm a: cmdline = 'xxx", 34) == 0);

	value[64] = 0;
	snprintf(text, sizeof(text), "[vm a]\nkernel = %s\nmemory = 1M\n", value);
	EXPECT(parse(text) == Q_RANGE);
	snprintf(text, sizeof(text), "[vm a]\nkernel = %s\nmemory = 1M\n", value + 1);
	EXPECT(parse(text) == Q_OK);

	memset(text, '#', sizeof(text));
	EXPECT(parse_bytes(text, 2111) == Q_OK);
	EXPECT(parse_bytes(text, 2112) == Q_INVALID);
	EXPECT(strncmp(error.text, "quire.conf:1: the line is too long", 34) == 0);

	memset(text, '\n', sizeof(text));
	EXPECT(parse_bytes(text, CONFIG_TEXT_MAX) == Q_OK);
	EXPECT(parse_bytes(text, CONFIG_TEXT_MAX + 1) == Q_RANGE);
	EXPECT(strncmp(error.text, "quire.conf:1: the file has 65537 bytes", 38) == 0);
}

TEST(config, a_refused_key_changes_nothing)
{
	struct config_vm vm, before;
	EXPECT(config_vm_init(&vm, "UPPER", &error) == Q_INVALID);
	EXPECT(config_vm_init(&vm, "a", &error) == Q_OK);
	EXPECT(config_vm_set(&vm, "serial", "log", &error) == Q_OK);
	before = vm;
	EXPECT(config_vm_set(&vm, "overcommit", "nothing", &error) == Q_INVALID);
	EXPECT(config_vm_set(&vm, "share", "A", &error) == Q_INVALID);
	EXPECT(config_vm_set(&vm, "memory", "99999999999999G", &error) == Q_RANGE);
	EXPECT(config_vm_set(&vm, "serial", "com2", &error) == Q_EXISTS);
	EXPECT(memcmp(&vm, &before, sizeof(vm)) == 0);
	EXPECT(config_vm_complete(&vm, &error) == Q_INVALID);
	EXPECT(strcmp(error.text, "'memory' is missing") == 0);
}

/* --- all errors at once ---------------------------------------------------------- */

static void expect_errors(const char *text, const char *first, const char *others)
{
	fake_log_clear();
	EXPECT(parse(text) != Q_OK);
	assert_string_equal(error.text, first);
	assert_string_equal(fake_log_text(), others);
}

TEST(config, the_first_error_is_returned_and_the_others_are_logged)
{
	expect_errors(
		"[vm a]\nkernel = k\nmemory = 1MB\nvcpus = 0\n"
		"[vm b]\nkernel = k\n"
		"[machine]\nscan = maybe\nscan = on\n"
		"[vm c]\nkernel = k\nmemory = 8M\nreserve = 9M\n"
		"[vm d]\nkernel = k\nmemory = 8M\ncolour = red\n",
		"quire.conf:3: vm a: memory = '1MB': must be a number with K, M or G",
		"quire.conf:4: vm a: vcpus = '0': must be a number from 1 to 32\n"
		"quire.conf:5: vm b: 'memory' is missing\n"
		"quire.conf:8: scan = 'maybe': must be off or on\n"
		"quire.conf:10: vm c: 'reserve' is more than 'memory'\n"
		"quire.conf:17: vm d: no key 'colour'; there are kernel, initrd, cmdline, "
		"firmware, memory, reserve, overcommit, priority, bound, share, vcpus, serial, "
		"autostart, on-reset, debug-exit, debug-console\n");
}

/* A VM with a line that was refused is not incomplete as well: that line may be what is missing. */
TEST(config, what_an_error_has_spoilt_is_not_judged)
{
	expect_errors("[vm a]\nkernel k\nmemory = 8M\n",
		      "quire.conf:2: neither '[section]' nor 'key = value'", "");
	expect_errors(
		"[vm a]\nkern = k\nmemory = 8M\n",
		"quire.conf:2: vm a: no key 'kern'; there are kernel, initrd, cmdline, firmware, "
		"memory, reserve, overcommit, priority, bound, share, vcpus, serial, autostart, "
		"on-reset, debug-exit, debug-console",
		"");
	expect_errors("[vm a]\nkernel = \x80\nmemory = 8M\n", "quire.conf:2: not valid UTF-8", "");
	/* The next VM is a new one. */
	expect_errors("[vm a]\nkernel k\n[vm b]\nkernel = k\n",
		      "quire.conf:2: neither '[section]' nor 'key = value'",
		      "quire.conf:3: vm b: 'memory' is missing\n");
	/* Whose console to attach is asked at the end, of a file without errors. */
	expect_errors("[machine]\nattach = b\n[vm a]\nkernel = k\n",
		      "quire.conf:3: vm a: 'memory' is missing", "");
}

TEST(config, lines_of_a_section_whose_first_line_is_wrong_are_not_judged)
{
	static const char rest[] = "\nkernel = k\nkernel = k\ncolour = red\nhello\n"
				   "[vm z]\nkernel = k\nmemory = 1\n";
	static const struct {
		const char *first, *message;
	} rows[] = {
		{ "[vm A]",
		  "quire.conf:4: 'A' is no name: it must be 1 to 31 of a-z, 0-9 and '-'" },
		{ "[vm a", "quire.conf:4: ']' is missing at the end" },
		{ "[ vms ]",
		  "quire.conf:4: [vms] is no section: there are [machine] and [vm NAME]" },
		{ "[", "quire.conf:4: ']' is missing at the end" },
		{ "[]", "quire.conf:4: [] is no section: there are [machine] and [vm NAME]" },
		{ "[vm]", "quire.conf:4: [vm] is no section: there are [machine] and [vm NAME]" },
		{ "[vm a]", "quire.conf:4: there is a VM 'a' already" },
		{ "[vm \x80]", "quire.conf:4: not valid UTF-8" },
		{ "  [vm b]\a", "quire.conf:4: a control character" },
	};
	char text[256];
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		snprintf(text, sizeof(text), "[vm a]\nkernel = k\nmemory = 8M\n%s%s", rows[i].first,
			 rest);
		expect_errors(text, rows[i].message,
			      "quire.conf:9: vm z: 'memory' must be at least 1M\n");
	}
	/* What came before is complete or not, whatever comes after. */
	expect_errors("[vm a]\nkernel = k\n[vm \x80]\nmemory = 8M\n",
		      "quire.conf:1: vm a: 'memory' is missing", "quire.conf:3: not valid UTF-8\n");
	expect_errors("[machine]\n[machine]\nscan = 7\n",
		      "quire.conf:2: section [machine] is given twice", "");
}

/* A text of an error has room for the longest names. */
TEST(config, no_error_is_cut)
{
	char text[512];
	fake_log_clear();
	EXPECT(parse("[vm a234567890123456789012345678901]\n"
		     "a-key-that-is-longer-than-any = 1\n"
		     "overcommit = a-value-that-is-longer-than-forty-characters\n"
		     "share = a-value-that-is-longer-than-forty-characters\n"
		     "[a-section-that-is-longer-than-forty-characters]\n") == Q_NOT_FOUND);
	assert_string_equal(error.text + strlen(error.text) - 14, " debug-console");
	assert_string_equal(
		fake_log_text(),
		"quire.conf:3: vm a234567890123456789012345678901: overcommit = "
		"'a-value-that-is-longer-than-forty-charac': must be none, zero-and-shared or "
		"full\n"
		"quire.conf:4: vm a234567890123456789012345678901: share = "
		"'a-value-that-is-longer-than-forty-charac': must be none, or 1 to 31 of a-z, 0-9 "
		"and '-'\n"
		"quire.conf:5: [a-section-that-is-longer-than-forty-char] is no section: there are "
		"[machine] and [vm NAME]\n");
	/* The last line that a file can have. */
	snprintf(text, sizeof(text), "quire.conf:%u%s", CONFIG_TEXT_MAX,
		 strchr(error.text + strlen("quire.conf:"), ':'));
	EXPECT(strlen(text) < ERROR_TEXT_BYTES);
}

/* --- the section [machine] --------------------------------------------------------- */

TEST(config, every_key_of_the_machine_is_read)
{
	static const char *const names[] = {
#define KEY_NAME(key, field, type, ...) key,
		SYSTEM_KEYS(KEY_NAME)
	};
	EXPECT(parse("[machine]\nscan = off\nscan-cpu = 7\nscan-memory = 64K\nattach = a\n" GOOD_VM
		     "[vm b]\nkernel = k\nmemory = 1M\n") == Q_OK);
	EXPECT(!config.system.scan && config.system.scan_cpu_percent == 7);
	EXPECT(config.system.scan_memory_bytes == 65536);
	EXPECT(strcmp(config.system.attach, "a") == 0);
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		char text[64];
		snprintf(text, sizeof(text), "[machine]\n%s =\n", names[i]);
		EXPECT(parse(text) == Q_INVALID);
	}
	EXPECT(ARRAY_COUNT(names) == 4);
	EXPECT(parse(GOOD_VM) == Q_OK && config.system.scan_memory_bytes == 0);
	/* A machine that was said nothing about does not keep what another was. */
	EXPECT(config.system.scan && config.system.scan_cpu_percent == 2);
}

TEST(config, limits_of_the_machines_keys)
{
	EXPECT(parse("[machine]\nscan-cpu = 1\nscan-memory = 4K\n") == Q_OK);
	EXPECT(parse("[machine]\nscan-cpu = 0\n") == Q_RANGE);
	EXPECT(parse("[machine]\nscan-cpu = -1\n") == Q_INVALID);
	EXPECT(parse("[machine]\nscan-memory = 4M\n") == Q_OK);
	EXPECT(parse("[machine]\nscan-memory = 4095\n") == Q_RANGE);
	EXPECT(parse("[machine]\nattach = none at all\n") == Q_INVALID);
}

TEST(config, sections_are_counted_before_they_are_read)
{
	static const struct {
		const char *text;
		unsigned count;
	} rows[] = {
		{ "", 0 },
		{ "vm", 0 },
		{ "[", 1 },
		{ "[vm a]\n[vm b]", 2 },
		{ " \t\r[vm a]\n x [vm b]", 1 },
		{ "# [vm a]\n\n\n[\n[", 2 },
		{ "[[[[\r[", 1 },
		{ "k = [\n", 0 },
	};
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		char *copy = exact_copy(rows[i].text, strlen(rows[i].text));
		EXPECT(config_vm_sections(copy, strlen(rows[i].text)) == rows[i].count);
		free(copy);
	}
}

TEST(config, a_group_has_one_number_for_good)
{
	struct config_vm vm;
	EXPECT(parse(GOOD_VM "share = x\n[vm b]\nkernel = k\nmemory = 1M\nshare = y\n"
			     "[vm c]\nkernel = k\nmemory = 1M\nshare = none\n"
			     "[vm d]\nkernel = k\nmemory = 1M\nshare = x\n") == Q_OK);
	share_group_t x = vms[0].config.share_group, y = vms[1].config.share_group;
	EXPECT(x != y && x != SHARE_GROUP_NONE && y != SHARE_GROUP_NONE);
	EXPECT(vms[2].config.share_group == SHARE_GROUP_NONE && vms[3].config.share_group == x);
	EXPECT(config_vm_init(&vm, "e", &error) == Q_OK);
	EXPECT(config_vm_set(&vm, "kernel", "k", &error) == Q_OK);
	EXPECT(config_vm_set(&vm, "memory", "1M", &error) == Q_OK);
	EXPECT(config_vm_set(&vm, "share", "y", &error) == Q_OK);
	EXPECT(config_vm_complete(&vm, &error) == Q_OK && vm.config.share_group == y);
}

TEST(config, ranges_of_a_bound_vm)
{
	static const struct {
		const char *value;
		bool is_good;
	} rows[] = {
		{ "0-1G", true },
		{ "1-2", true },
		{ "1G-1G", false },
		{ "-1G", false },
		{ "1G-", false },
		{ "1G-2G-3G", false },
		{ "-", false },
		{ "1G - 2G", false },
		{ "Yes", false },
		{ "0-17179869183G", true },
		{ "0-17179869184G", false },
		{ "0000000000000000000000000000001G-2G", false }, /* 32 characters */
		{ "000000000000000000000000000001G-2G", true },
	};
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		struct config_vm vm;
		EXPECT(config_vm_init(&vm, "a", &error) == Q_OK);
		if ((config_vm_set(&vm, "bound", rows[i].value, &error) == Q_OK) != rows[i].is_good)
			fail_msg("bound = %s", rows[i].value);
		EXPECT(vm.config.bound.is_bound == rows[i].is_good);
	}
}

/* --- whatever the file holds ----------------------------------------------------------- */

#define JUNK_INPUTS 200000u
#define JUNK_BYTES  400u

static uint32_t junk_state;

static uint32_t junk(uint32_t below)
{
	junk_state = junk_state * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(junk_state >> 4) * below >> 28);
}

static size_t junk_bytes(char *to)
{
	size_t length = junk(JUNK_BYTES);
	for (size_t i = 0; i < length; i++)
		to[i] = (char)junk(256);
	return length;
}

/* Lines of words that mean something, in an order that seldom does. */
static size_t junk_words(char *to)
{
	static const char *const words[] = { "[vm a]\n",
					     "[vm b]\n",
					     "[vm c-9]\n",
					     "[machine]\n",
					     "[vm ",
					     "[",
					     "]",
					     "\n",
					     "\n",
					     "\n",
					     "\r\n",
					     "=",
					     " = ",
					     "\t",
					     " ",
					     "#",
					     "a",
					     "yes",
					     "no",
					     "on",
					     "off",
					     "none",
					     "full",
					     "64M",
					     "1G",
					     "4K",
					     "1M-2M",
					     "0",
					     "1",
					     "99999999999999999999",
					     "default",
					     "console",
					     "log",
					     "high",
					     "stop",
					     "\xc3\xa4",
					     "\xe2\x82",
					     "\x80",
					     "\x1b",
					     "-",
					     "x,y",
					     "kernel = k\n",
					     "memory = 64M\n",
					     "memory = 1M\n",
					     "share = none\n",
					     "overcommit = none\n",
					     "bound = yes\n",
					     "serial = log\n",
					     "attach = a\n",
#define KEY_WORD(key, field, type, ...) key, key " = ",
					     VM_KEYS(KEY_WORD) SYSTEM_KEYS(KEY_WORD) };
	size_t length = 0;
	for (;;) {
		const char *word = words[junk(ARRAY_COUNT(words))];
		if (length + strlen(word) > JUNK_BYTES || junk(60) == 0)
			return length;
		memcpy(to + length, word, strlen(word));
		length += strlen(word);
	}
}

/* A good file with a few bytes changed, cut off somewhere. */
static size_t junk_damaged(char *to)
{
	static const char good[] = "[machine]\nscan = off\nscan-memory = 64K\nattach = a\n" GOOD_VM
				   "initrd = i\ncmdline = console=ttyS0 \xc3\xa4\nreserve = 1M\n"
				   "[vm b]\nfirmware = f\nmemory = 8M\novercommit = none\n"
				   "share = none\nbound = 1G-2G\nserial = com2\n";
	size_t length = sizeof(good) - 1 - (junk(2) ? junk(sizeof(good) - 1) : 0);
	memcpy(to, good, length);
	for (uint32_t changes = junk(4); changes && length; changes--)
		to[junk((uint32_t)length)] = junk(4) ? "\n[]=# a"[junk(7)] : (char)junk(256);
	return length;
}

static void expect_sound(const struct config_vm *vm)
{
	EXPECT(vm_config_problem(&vm->config) == NULL);
	EXPECT(vm->line_number && strlen(vm->config.name) >= 1 &&
	       strlen(vm->config.name) < VM_NAME_BYTES);
	EXPECT(memchr(vm->config.cmdline, 0, sizeof(vm->config.cmdline)));
	EXPECT((vm->config.share_group == SHARE_GROUP_NONE) == !vm->config.share[0]);
}

/* Each line says where, and one error is one line. */
static void expect_errors_are_lines(void)
{
	EXPECT(strncmp(error.text, "quire.conf:", 11) == 0 && !strchr(error.text, '\n'));
	for (const char *at = fake_log_text(); *at; at = strchr(at, '\n') + 1)
		EXPECT(strncmp(at, "quire.conf:", 11) == 0);
}

TEST(config, junk_is_refused_or_makes_sound_vms)
{
	static size_t (*const kinds[])(char *) = { junk_bytes, junk_words, junk_damaged };
	static char text[JUNK_BYTES];
	unsigned good = 0;
	junk_state = 1;
	for (unsigned i = 0; i < JUNK_INPUTS; i++) {
		size_t length = kinds[i % ARRAY_COUNT(kinds)](text);
		fake_log_clear();
		q_status_t status = parse_bytes(text, length);
		EXPECT(config.vm_count <= VM_MAX);
		EXPECT(config.vm_count <= config_vm_sections(text, length));
		for (unsigned v = 0; v < config.vm_count && status == Q_OK; v++)
			expect_sound(&vms[v]);
		if (status == Q_OK)
			assert_string_equal(error.text, "untouched");
		else
			expect_errors_are_lines();
		good += status == Q_OK && config.vm_count;
	}
	/* Not everything was refused at the first line. */
	EXPECT(good > JUNK_INPUTS / 100);
}

/* --- modules ------------------------------------------------------------------------ */

TEST(config, modules_that_a_vm_names_must_exist)
{
	struct module_table modules = { .entries = { { .name = "vmlinuz" }, { .name = "x" } },
					.count = 2 };
	EXPECT(parse(GOOD_VM "initrd = x,vmlinuz\n") == Q_OK);
	EXPECT(vm_config_check(&vms[0].config, &modules, &error) == Q_OK);
	EXPECT(parse(GOOD_VM "initrd = x,y\n") == Q_OK);
	EXPECT(vm_config_check(&vms[0].config, &modules, &error) == Q_NOT_FOUND);
	EXPECT(strcmp(error.text,
		      "initrd = y: there is no such boot module; there are vmlinuz, x") == 0);
	EXPECT(parse(GOOD_VM "initrd = x,\n") == Q_OK);
	EXPECT(vm_config_check(&vms[0].config, &modules, &error) == Q_INVALID);
	EXPECT(parse("[vm a]\nkernel = x,vmlinuz\nmemory = 1M\n") == Q_OK);
	EXPECT(vm_config_check(&vms[0].config, &modules, &error) == Q_NOT_FOUND);
	vms[0].config.memory_bytes = 0;
	EXPECT(vm_config_check(&vms[0].config, &modules, &error) == Q_INVALID);
}
