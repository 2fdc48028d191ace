/* SPDX-License-Identifier: MIT */
/* Walks the tags of the boot information, and believes no size that it has not checked. */
#include "multiboot2.h"

#include <quire/bits.h>

#include "lib/error_text.h"
#include "lib/string.h"

enum tag_type {
	TAG_END = 0,
	TAG_COMMAND_LINE = 1,
	TAG_MODULE = 3,
	TAG_MEMORY_MAP = 6,
	TAG_RSDP_1 = 14,
	TAG_RSDP_2 = 15,
};

struct header {
	uint32_t total_size, reserved;
};

struct tag {
	uint32_t type, size;
};

struct module_tag {
	struct tag tag;
	uint32_t start, end;
	char text[];
};

struct map_tag {
	struct tag tag;
	uint32_t entry_size, entry_version;
};

struct map_entry {
	uint64_t start, size_bytes;
	uint32_t type, reserved;
};

/* Copies a text of a tag, which need not be terminated. */
static void copy_text(char *to, size_t size_bytes, const char *from, size_t limit)
{
	size_t i = 0;
	while (i + 1 < size_bytes && i < limit && from[i])
		to[i] = from[i], i++;
	to[i] = 0;
}

_Static_assert(BOOTINFO_MODULE_MAX == 32 && BOOT_RAW_ENTRY_MAX == 160, "as the texts below say");

static q_status_t fail(struct error_text *error, const char *what, size_t offset)
{
	return refuse(error, Q_INVALID, "multiboot2 information at byte %zu: %s", offset, what);
}

static const char *read_module(const struct tag *tag, struct boot_raw *raw)
{
	const struct module_tag *module = (const struct module_tag *)tag;
	if (tag->size < sizeof(*module))
		return "module tag too small";
	if (raw->module_count == BOOTINFO_MODULE_MAX)
		return "more than 32 modules";
	if (module->end < module->start)
		return "module ends before it starts";
	struct boot_raw_module *to = &raw->modules[raw->module_count++];
	to->start = module->start;
	to->end = module->end;
	copy_text(to->text, sizeof(to->text), module->text, tag->size - sizeof(*module));
	return NULL;
}

static const char *read_map(const struct tag *tag, struct boot_raw *raw)
{
	const struct map_tag *map = (const struct map_tag *)tag;
	if (tag->size < sizeof(*map) || map->entry_size < sizeof(struct map_entry))
		return "memory map tag too small";
	const uint8_t *at = (const uint8_t *)(map + 1);
	const uint8_t *end = (const uint8_t *)tag + tag->size;
	for (; (size_t)(end - at) >= map->entry_size; at += map->entry_size) {
		if (raw->entry_count == BOOT_RAW_ENTRY_MAX)
			return "more than 160 memory map entries";
		struct map_entry entry;
		memcpy(&entry, at, sizeof(entry));
		raw->entries[raw->entry_count++] =
			(struct memmap_entry){ entry.start, entry.size_bytes, entry.type };
	}
	return NULL;
}

static const char *read_tag(const struct tag *tag, struct boot_raw *raw)
{
	switch (tag->type) {
	case TAG_COMMAND_LINE:
		copy_text(raw->command_line, sizeof(raw->command_line), (const char *)(tag + 1),
			  tag->size - sizeof(*tag));
		return NULL;
	case TAG_MODULE: return read_module(tag, raw);
	case TAG_MEMORY_MAP: return read_map(tag, raw);
	case TAG_RSDP_1:
		if (!raw->rsdp)
			raw->rsdp = (uintptr_t)(tag + 1);
		return NULL;
	case TAG_RSDP_2: raw->rsdp = (uintptr_t)(tag + 1); return NULL;
	default: return NULL; /* Quire needs no other tag */
	}
}

q_status_t multiboot2_read(const void *information, size_t size_bytes, struct boot_raw *out_raw,
			   struct error_text *error)
{
	const struct header *header = information;
	if (size_bytes < sizeof(*header))
		return fail(error, "no room for its header", 0);
	if (header->total_size > size_bytes || header->total_size < sizeof(*header))
		return refuse(error, Q_INVALID,
			      "multiboot2 information: a total of %u bytes, must be %zu to %zu",
			      header->total_size, sizeof(*header), size_bytes);

	memset(out_raw, 0, sizeof(*out_raw));
	out_raw->loader = "multiboot2";
	size_t offset = sizeof(*header), total = header->total_size;
	while (total - offset >= sizeof(struct tag)) {
		const struct tag *tag = (const struct tag *)((const uint8_t *)information + offset);
		if (tag->type == TAG_END)
			break;
		if (tag->size < sizeof(*tag) || tag->size > total - offset)
			return refuse(error, Q_INVALID,
				      "multiboot2 information at byte %zu: a tag of %u bytes, "
				      "must be %zu to %zu",
				      offset, tag->size, sizeof(*tag), total - offset);
		const char *wrong = read_tag(tag, out_raw);
		if (wrong)
			return fail(error, wrong, offset);
		size_t step = align_up(tag->size, 8);
		if (step > total - offset)
			break;
		offset += step;
	}
	if (!out_raw->entry_count)
		return fail(error, "no memory map", offset);
	return Q_OK;
}
