/* SPDX-License-Identifier: MIT */
/*
 * cpio archives: a damaged one is refused with a message that says where, and the files of a good
 * one arrive unchanged. Archives lie in heap blocks of exactly their size.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "lib/error_text.h"
#include "vm/load/cpio.h"

static struct error_text error;

static char archive_bytes[8192];
static size_t archive_size;

static void archive_pad(void)
{
	while (archive_size % 4)
		archive_bytes[archive_size++] = 0;
}

static void archive_add(const char *name, unsigned mode, const char *data)
{
	archive_size += (size_t)sprintf(
		archive_bytes + archive_size,
		"070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", 1u, mode, 0u, 0u, 1u,
		0u, (unsigned)strlen(data), 0u, 0u, 0u, 0u, (unsigned)strlen(name) + 1, 0u);
	memcpy(archive_bytes + archive_size, name, strlen(name) + 1);
	archive_size += strlen(name) + 1;
	archive_pad();
	memcpy(archive_bytes + archive_size, data, strlen(data));
	archive_size += strlen(data);
	archive_pad();
}

static void archive_good(void)
{
	archive_size = 0;
	archive_add("./boot", 0040755, "");
	archive_add("./boot/vmlinuz", 0100644, "kernel");
	archive_add("initrd.img", 0100644, "initial");
	archive_add("link", 0120777, "initrd.img");
	archive_add("empty", 0100644, "");
	archive_add("TRAILER!!!", 0, "");
}

/* Overwrites a number of the header at `offset`. */
static void header_lie(size_t offset, unsigned field, const char *digits)
{
	memcpy(archive_bytes + offset + 6 + field * 8, digits, 8);
}

static struct module_table table;

static q_status_t expand_first(size_t size_bytes)
{
	static void *copy;
	free(copy); /* names and data of the table lie in it until the next call */
	copy = malloc(size_bytes ? size_bytes : 1);
	assert_non_null(copy);
	memcpy(copy, archive_bytes, size_bytes);
	struct module archive = { .name = "all.cpio", .data = copy, .size_bytes = size_bytes };
	memset(&table, 0, sizeof(table));
	table.entries[table.count++] = (struct module){ .name = "first" };
	strcpy(error.text, "untouched");
	q_status_t status = cpio_expand(&archive, &table, &error);
	EXPECT(status == Q_OK || table.count == 1);
	return status;
}

static void expect_module(const char *name, const char *data)
{
	const struct module *module = module_find(&table, name);
	assert_non_null(module);
	assert_int_equal(module->size_bytes, strlen(data));
	assert_memory_equal(module->data, data, strlen(data));
}

TEST(cpio, regular_files_become_modules)
{
	archive_good();
	EXPECT(expand_first(archive_size) == Q_OK);
	EXPECT(table.count == 4);
	expect_module("vmlinuz", "kernel");
	expect_module("initrd.img", "initial");
	expect_module("empty", "");
	EXPECT(!module_find(&table, "link") && !module_find(&table, "boot"));
}

TEST(cpio, numbers_may_have_small_letters)
{
	char data[0xab + 1];
	memset(data, 'd', 0xab);
	data[0xab] = 0;
	archive_size = 0;
	archive_add("file", 0100644, data);
	archive_add("TRAILER!!!", 0, "");
	header_lie(0, 6, "000000ab");
	EXPECT(expand_first(archive_size) == Q_OK);
	expect_module("file", data);
}

TEST(cpio, an_archive_is_told_by_its_content)
{
	archive_good();
	struct module module = { .data = (const uint8_t *)archive_bytes,
				 .size_bytes = archive_size };
	EXPECT(cpio_is_archive(&module));
	module.size_bytes = 109;
	EXPECT(!cpio_is_archive(&module));
	module.size_bytes = archive_size;
	archive_bytes[5] = '2'; /* with checksums */
	EXPECT(cpio_is_archive(&module));
	archive_bytes[5] = '7';
	EXPECT(!cpio_is_archive(&module));
	archive_bytes[5] = '1';
	archive_bytes[0] = '1';
	EXPECT(!cpio_is_archive(&module));
}

TEST(cpio, every_truncation_is_refused)
{
	archive_good();
	/* Of the end record, only its padding may be missing. */
	size_t needed = archive_size;
	while (expand_first(needed - 1) == Q_OK)
		needed--;
	EXPECT(archive_size - needed < 4);
	for (size_t size = 0; size < needed; size++) {
		EXPECT(expand_first(size) == Q_INVALID);
		EXPECT(strncmp(error.text, "all.cpio: offset ", 17) == 0);
	}
}

static void expect_refused(q_status_t status, const char *message)
{
	q_status_t got = expand_first(archive_size);
	if (got != status || strncmp(error.text, message, strlen(message)) != 0)
		fail_msg("status %d, '%s', not '%s'", got, error.text, message);
}

TEST(cpio, lying_headers_are_refused)
{
	static const char *const sizes[] = { "FFFFFFFF", "FFFFFFFC", "80000000", "00001000" };
	for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
		archive_good();
		header_lie(0, 6, sizes[i]);
		expect_refused(Q_INVALID, "all.cpio: offset 0: the file is longer");
		archive_good();
		header_lie(0, 11, sizes[i]);
		expect_refused(Q_INVALID, "all.cpio: offset 0: the name is longer");
	}
	archive_good();
	header_lie(0, 11, "00000000");
	expect_refused(Q_INVALID, "all.cpio: offset 0: the name is longer");
	archive_good();
	header_lie(0, 11, "00000006");
	expect_refused(Q_INVALID, "all.cpio: offset 0: the name is not");
	archive_good();
	header_lie(0, 11, "00000008");
	expect_refused(Q_INVALID, "all.cpio: offset 0: the name is not");
	static const unsigned fields[] = { 1, 6, 11 };
	static const char *const others[] = { "0000000g", "0000000G", "0000000:", "0000000@",
					      "0000000/", "0000000`", "g0000000", "0000000 " };
	for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
		for (size_t j = 0; j < ARRAY_COUNT(others); j++) {
			archive_good();
			header_lie(0, fields[i], others[j]);
			expect_refused(Q_INVALID, "all.cpio: offset 0: a number");
		}
	}
	/* An empty name, and a name with a terminator in its middle. */
	archive_good();
	header_lie(0, 11, "00000001");
	archive_bytes[110] = 0;
	expect_refused(Q_INVALID, "all.cpio: offset 0: the name is not");
	archive_good();
	archive_bytes[112] = 0;
	expect_refused(Q_INVALID, "all.cpio: offset 0: the name is not");
	archive_good();
	archive_bytes[120] = 'x'; /* magic of the second header */
	expect_refused(Q_INVALID, "all.cpio: offset 120: no file header");
}

TEST(cpio, names_must_be_new)
{
	archive_size = 0;
	archive_add("a/one", 0100644, "1");
	archive_add("b/one", 0100644, "2");
	archive_add("TRAILER!!!", 0, "");
	expect_refused(Q_EXISTS, "all.cpio: offset 120: 'b/one': there is a module");
	archive_size = 0;
	archive_add("first", 0100644, "1");
	archive_add("TRAILER!!!", 0, "");
	expect_refused(Q_EXISTS, "all.cpio: offset 0: 'first': there is");
}

TEST(cpio, too_many_files_are_refused)
{
	archive_size = 0;
	for (int i = 0; i < 64; i++) {
		char name[16];
		sprintf(name, "f%d", i);
		archive_add(name, 0100644, "");
	}
	expect_refused(Q_LIMIT, "all.cpio: offset ");
}
