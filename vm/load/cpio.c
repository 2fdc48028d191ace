/* SPDX-License-Identifier: MIT */
/*
 * The "new ASCII" cpio format: cpio(5), "New ASCII Format". Each file has a header, its name with
 * a terminator, and its data. The header is a magic of six digits and 13 numbers of eight
 * hexadecimal digits. Name and data are each padded, so that the next part starts at a multiple
 * of four from the archive's start. A file named TRAILER!!! ends the archive.
 *
 * Every size in the archive is only a claim: nothing is read before it is known to lie inside. The
 * loop ends because each file takes at least a header.
 */
#include "vm/load/cpio.h"

#include <quire/addr.h>
#include <quire/bits.h>

#include "lib/error_text.h"

#define MAGIC_BYTES  6u
#define FIELD_DIGITS 8u
#define HEADER_BYTES 110u
#define ALIGNMENT    4u
#define TRAILER_NAME "TRAILER!!!"

/* The numbers of the header that are used, by position. */
#define FIELD_MODE       1u
#define FIELD_FILE_BYTES 6u
#define FIELD_NAME_BYTES 11u

#define MODE_TYPE    0170000u
#define MODE_REGULAR 0100000u

struct member {
	const char *name; /* as stored, with folders */
	uint64_t mode;
	const uint8_t *data;
	uint64_t size_bytes;
	uint64_t next; /* offset of the next header */
};

static bool is_magic(const uint8_t *bytes)
{
	/* The last digit says whether there are checksums, which are ignored. */
	return memcmp(bytes, "07070", 5) == 0 && (bytes[5] == '1' || bytes[5] == '2');
}

bool cpio_is_archive(const struct module *module)
{
	return module->size_bytes >= HEADER_BYTES && is_magic(module->data);
}

static bool hex_digit(uint8_t c, uint64_t *out_digit)
{
	if (c >= '0' && c <= '9')
		*out_digit = (uint64_t)(c - '0');
	else if (c >= 'a' && c <= 'f')
		*out_digit = (uint64_t)(c - 'a') + 10;
	else if (c >= 'A' && c <= 'F')
		*out_digit = (uint64_t)(c - 'A') + 10;
	else
		return false;
	return true;
}

static bool field_read(const uint8_t *header, unsigned field, uint64_t *out_value)
{
	const uint8_t *digits = header + MAGIC_BYTES + field * FIELD_DIGITS;
	uint64_t value = 0, digit;
	for (unsigned i = 0; i < FIELD_DIGITS; i++) {
		if (!hex_digit(digits[i], &digit))
			return false;
		value = value << 4 | digit;
	}
	*out_value = value;
	return true;
}

/* True if the name is not empty and ends exactly where the header says. */
static bool is_name(const char *name, uint64_t name_bytes)
{
	for (uint64_t i = 0; i < name_bytes - 1; i++) {
		if (name[i] == 0)
			return false;
	}
	return name_bytes > 1 && name[name_bytes - 1] == 0;
}

/* Returns NULL, or what is wrong with the member at `offset`. */
static const char *member_read(const struct module *archive, uint64_t offset,
			       struct member *out_member)
{
	uint64_t size = archive->size_bytes, name_bytes;
	if (range_exceeds(offset, HEADER_BYTES, size))
		return "the archive ends without its end record";
	const uint8_t *header = archive->data + offset;
	if (!is_magic(header))
		return "no file header here";
	if (!field_read(header, FIELD_MODE, &out_member->mode) ||
	    !field_read(header, FIELD_FILE_BYTES, &out_member->size_bytes) ||
	    !field_read(header, FIELD_NAME_BYTES, &name_bytes))
		return "a number is not hexadecimal";

	/* Offsets stay far below 2^64: the archive is in memory, and sizes have 32 bits. */
	uint64_t name_start = offset + HEADER_BYTES;
	if (name_bytes == 0 || range_exceeds(name_start, name_bytes, size))
		return "the name is longer than the archive";
	out_member->name = (const char *)archive->data + name_start;
	if (!is_name(out_member->name, name_bytes))
		return "the name is not terminated where it should be";

	uint64_t data_start = align_up(name_start + name_bytes, ALIGNMENT);
	/* At the archive's end the padding before an empty file may be missing. */
	if (out_member->size_bytes == 0)
		data_start = data_start < size ? data_start : size;
	else if (range_exceeds(data_start, out_member->size_bytes, size))
		return "the file is longer than the archive";
	out_member->data = archive->data + data_start;
	out_member->next = align_up(data_start + out_member->size_bytes, ALIGNMENT);
	return NULL;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* Adds a regular file. Folders, links and devices are left out. */
static q_status_t member_add(const struct member *member, struct module_table *table)
{
	if ((member->mode & MODE_TYPE) != MODE_REGULAR)
		return Q_OK;
	struct module module = { .name = base_name(member->name),
				 .data = member->data,
				 .size_bytes = member->size_bytes };
	return module_add(table, &module);
}

q_status_t cpio_expand(const struct module *archive, struct module_table *table,
		       struct error_text *error)
{
	unsigned count_before = table->count;
	struct member member;
	for (uint64_t offset = 0;; offset = member.next) {
		const char *problem = member_read(archive, offset, &member);
		if (problem) {
			table->count = count_before;
			return refuse(error, Q_INVALID, "%s: offset %llu: %s", archive->name,
				      (unsigned long long)offset, problem);
		}
		if (strcmp(member.name, TRAILER_NAME) == 0)
			return Q_OK;
		q_status_t status = member_add(&member, table);
		if (status != Q_OK) {
			table->count = count_before;
			return refuse(error, status, "%s: offset %llu: '%.64s': %s", archive->name,
				      (unsigned long long)offset, member.name,
				      status == Q_EXISTS ? "there is a module of this name"
							 : "too many modules");
		}
	}
}
