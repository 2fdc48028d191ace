/* SPDX-License-Identifier: MIT */
/* Reads what the loader left, then builds the memory map and claims image and modules in it. */
#include "boot.h"

#include <quire/layout.h>

#include "lib/error_text.h"
#include "lib/string.h"
#include "arch/x86_64/features.h"
#include "arch/x86_64/paging.h"

#include "multiboot2.h"
#include "pvh.h"

/* The end of the identity mapping that boot/start.S made. */
#define IDENTITY_END (1ull << 32)

static struct boot_raw raw; /* too big for the stack */

static const void *identity(uint64_t address, uint64_t size_bytes)
{
	if (!address || range_exceeds(address, size_bytes, IDENTITY_END))
		return NULL;
	return (const void *)address;
}

static q_status_t read_loader(uint32_t magic, uint32_t information, struct error_text *error)
{
	if (magic == MULTIBOOT2_MAGIC)
		return multiboot2_read(identity(information, 1), IDENTITY_END - information, &raw,
				       error);
	if (magic == 0)
		return pvh_read(information, identity, &raw, error);
	return refuse(error, Q_INVALID,
		      "unknown boot loader: magic number %#x, a multiboot2 loader's is %#x", magic,
		      MULTIBOOT2_MAGIC);
}

/* The module string "/boot/quire.conf more words" gives the name "quire.conf". */
static void name_module(const char *text, struct bootinfo_module *module)
{
	const char *end = text, *base = text;
	for (; *end && *end != ' '; end++)
		if (*end == '/')
			base = end + 1;
	size_t length = (size_t)(end - base);
	if (length >= sizeof(module->name))
		length = sizeof(module->name) - 1;
	memcpy(module->name, base, length);
	module->name[length] = 0;
	while (*end == ' ')
		end++;
	module->text = end;
}

static q_status_t add_module(const struct boot_raw_module *from, struct bootinfo *info,
			     struct error_text *error)
{
	if (from->start == from->end)
		return Q_OK; /* an empty file has no memory */
	struct bootinfo_module *module = &info->modules[info->module_count];
	*module = (struct bootinfo_module){ .start = hpa(from->start),
					    .size_bytes = from->end - from->start };
	name_module(from->text, module);
	if (from->start & PAGE_MASK)
		return refuse(error, Q_INVALID, "module %u '%s' at %#llx is not page aligned",
			      info->module_count, module->name, (unsigned long long)from->start);
	struct error_text why;
	q_status_t status =
		memmap_claim(info, hpa(from->start), hpa(from->end), BOOTINFO_MODULE, &why);
	if (status != Q_OK)
		return refuse(error, status, "module %u '%s': %s", info->module_count, module->name,
			      why.text);
	info->module_count++;
	return Q_OK;
}

q_status_t boot_collect(uint32_t magic, uint32_t information, struct bootinfo *out_info,
			struct error_text *error)
{
	q_status_t status = read_loader(magic, information, error);
	if (status != Q_OK)
		return status;

	memset(out_info, 0, sizeof(*out_info));
	out_info->loader = raw.loader;
	out_info->rsdp = hpa(raw.rsdp);
	string_copy(out_info->command_line, sizeof(out_info->command_line), raw.command_line);
	uint64_t limit = 1ull << cpu_features()->physical_address_bits;
	status = memmap_build(raw.entries, raw.entry_count, limit, out_info, error);
	if (status != Q_OK)
		return status;

	/* The image starts at 1 MiB: first the boot code, then the part that is linked high. */
	struct error_text why;
	status = memmap_claim(out_info, hpa((uintptr_t)layout_image_start - PAGING_IMAGE_BASE),
			      hpa((uintptr_t)layout_image_end - PAGING_IMAGE_BASE), BOOTINFO_QUIRE,
			      &why);
	if (status != Q_OK)
		return refuse(error, status, "Quire's image: %s", why.text);
	for (unsigned i = 0; i < raw.module_count && status == Q_OK; i++)
		status = add_module(&raw.modules[i], out_info, error);
	return status;
}
