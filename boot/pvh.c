/* SPDX-License-Identifier: MIT */
/* Reads the start information block and what it points to. */
#include "pvh.h"

#include "lib/error_text.h"
#include "lib/string.h"

#define PVH_MAGIC 0x336ec578u

struct start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, command_line, rsdp;
	uint64_t memory_map; /* version 1 on */
	uint32_t memory_map_entries, reserved;
};

struct module_entry {
	uint64_t start, size_bytes, command_line, reserved;
};

struct map_entry {
	uint64_t start, size_bytes;
	uint32_t type, reserved;
};

typedef const void *map_fn(uint64_t address, uint64_t size_bytes);

_Static_assert(BOOTINFO_MODULE_MAX == 32 && BOOT_RAW_ENTRY_MAX == 160, "as the texts below say");

static q_status_t fail(struct error_text *error, const char *what)
{
	return refuse(error, Q_INVALID, "PVH start information: %s", what);
}

/* Byte by byte, because the length of the text is not known. */
static void copy_text(map_fn *map, uint64_t address, char *to, size_t size_bytes)
{
	size_t i = 0;
	for (; address && i + 1 < size_bytes; i++) {
		const char *c = map(address + i, 1);
		if (!c || !*c)
			break;
		to[i] = *c;
	}
	to[i] = 0;
}

static const char *read_modules(const struct start_info *info, map_fn *map, struct boot_raw *raw)
{
	if (!info->module_count)
		return NULL;
	if (info->module_count > BOOTINFO_MODULE_MAX)
		return "more than 32 modules";
	const struct module_entry *entries =
		map(info->modules, info->module_count * sizeof(struct module_entry));
	if (!entries)
		return "the list of modules is not in the first 4 GiB of memory";
	for (unsigned i = 0; i < info->module_count; i++) {
		if (entries[i].start + entries[i].size_bytes < entries[i].start)
			return "a module ends beyond the last address";
		struct boot_raw_module *to = &raw->modules[raw->module_count++];
		to->start = entries[i].start;
		to->end = entries[i].start + entries[i].size_bytes;
		copy_text(map, entries[i].command_line, to->text, sizeof(to->text));
	}
	return NULL;
}

static const char *read_map(const struct start_info *info, map_fn *map, struct boot_raw *raw)
{
	if (info->version < 1 || !info->memory_map_entries)
		return "no memory map";
	if (info->memory_map_entries > BOOT_RAW_ENTRY_MAX)
		return "more than 160 memory map entries";
	const struct map_entry *entries =
		map(info->memory_map, info->memory_map_entries * sizeof(struct map_entry));
	if (!entries)
		return "the memory map is not in the first 4 GiB of memory";
	for (unsigned i = 0; i < info->memory_map_entries; i++)
		raw->entries[raw->entry_count++] =
			(struct memmap_entry){ entries[i].start, entries[i].size_bytes,
					       entries[i].type };
	return NULL;
}

q_status_t pvh_read(uint64_t start_info, map_fn *map, struct boot_raw *out_raw,
		    struct error_text *error)
{
	const struct start_info *info = map(start_info, sizeof(*info));
	if (!info || info->magic != PVH_MAGIC)
		return fail(error, "wrong magic number");
	memset(out_raw, 0, sizeof(*out_raw));
	out_raw->loader = "PVH";
	out_raw->rsdp = info->rsdp;
	copy_text(map, info->command_line, out_raw->command_line, sizeof(out_raw->command_line));
	const char *wrong = read_modules(info, map, out_raw);
	if (!wrong)
		wrong = read_map(info, map, out_raw);
	return wrong ? fail(error, wrong) : Q_OK;
}
