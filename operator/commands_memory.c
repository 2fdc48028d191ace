/* SPDX-License-Identifier: MIT */
/* Commands about memory: where the machine's memory is, and what each VM has. */
#include <quire/layout.h>

#include "lib/format.h"
#include "arch/x86_64/paging.h"
#include "kernel/console.h"
#include "kernel/heap.h"
#include "mm/gmm/gmm.h"
#include "vm/vm.h"
#include "operator/commands.h"
#include "operator/listing.h"

/* --- the machine ------------------------------------------------------------------------------ */

struct machine_figures {
	struct gmm_stats gmm;
	uint64_t bytes, chunks, quire_bytes;
};

#define MACHINE(field) offsetof(struct machine_figures, field)
static const struct listing_column machine_rows[] = {
	{ "bytes", "memory", LISTING_BYTES_K, MACHINE(bytes) },
	{ "chunks", "chunks", LISTING_COUNT, MACHINE(chunks) },
	{ "chunks_free", "free", LISTING_COUNT, MACHINE(gmm.chunks_free) },
	{ "quire_bytes", "Quire", LISTING_BYTES_K, MACHINE(quire_bytes) },
	{ "tracking_bytes", "tracking", LISTING_BYTES_K, MACHINE(gmm.metadata_bytes) },
};
static const struct listing_columns machine_columns = LISTING_COLUMNS(machine_rows);

static const struct listing_column gmm_rows[] = {
	{ "pages_free", "free", LISTING_PAGES, MACHINE(gmm.free_pages) },
	{ "pages_private", "private", LISTING_PAGES, MACHINE(gmm.private_pages) },
	{ "pages_shared", "shared", LISTING_PAGES, MACHINE(gmm.shared_pages) },
	{ "pages_kernel", "kernel", LISTING_PAGES, MACHINE(gmm.kernel_pages) },
	{ "shared_references", NULL, LISTING_COUNT, MACHINE(gmm.shared_references) },
	{ "pages_saved", "saved", LISTING_PAGES, MACHINE(gmm.pages_saved) },
	{ "reserved_pages", "reserved", LISTING_PAGES, MACHINE(gmm.reserved_pages) },
	{ "claimed_pages", "not yet used", LISTING_PAGES, MACHINE(gmm.claimed_pages) },
};
static const struct listing_columns gmm_columns = LISTING_COLUMNS(gmm_rows);

static void machine_figures(struct machine_figures *out_figures)
{
	gmm_stats(&out_figures->gmm);
	const struct gmm_stats *gmm = &out_figures->gmm;
	out_figures->bytes = gmm->machine_pages << PAGE_SHIFT;
	out_figures->chunks = gmm->chunk_count + gmm->chunks_free;
	/* Image, page tables, chunk records and heap, without what GMM charges to VMs. */
	out_figures->quire_bytes = (uint64_t)(layout_image_end - layout_image_start) +
				   paging_bytes() + gmm->metadata_bytes + heap_bytes_used();
}

/*
 * Prints what keeping track of memory costs, beside the figures of the design text (docs/seed.md):
 * for each page that guests were promised, 16 bytes in the VM and 12 in the kernel.
 */
#define SEED_RECORD_BYTES   16u
#define SEED_TRACKING_BYTES 12u

static void cost_print(const struct gmm_stats *gmm)
{
	char text[5][16];
	uint64_t pages = 0, records = 0, tables = 0;
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm)) {
		struct pgm_stats m;
		vm_memory_figures(vm, &m);
		pages += m.pages;
		records += m.record_bytes;
		tables += m.table_pages << PAGE_SHIFT;
	}
	console_print("costs     records %s, nested tables %s, tracking %s (%llu bytes a page)",
		      listing_size_text(records, text[0], sizeof(text[0])),
		      listing_size_text(tables, text[1], sizeof(text[1])),
		      listing_size_text(gmm->metadata_bytes, text[2], sizeof(text[2])),
		      (unsigned long long)(gmm->metadata_bytes / gmm->machine_pages));
	console_print("; docs/seed.md gives %s for records and %s for tracking\n",
		      listing_size_text(pages * SEED_RECORD_BYTES, text[3], sizeof(text[3])),
		      listing_size_text(pages * SEED_TRACKING_BYTES, text[4], sizeof(text[4])));
}

/* --- VMs -------------------------------------------------------------------------------------- */

struct memory_row {
	const char *name;
	struct pgm_stats memory;
};

#define MEMORY(field)           offsetof(struct memory_row, memory.field)
#define COUNTER_ROW(name, text) { #name, NULL, LISTING_COUNT, MEMORY(counters.name) },
static const struct listing_column memory_rows[] = {
	{ "name", "NAME", LISTING_NAME, offsetof(struct memory_row, name) },
	{ "pages", "MEMORY", LISTING_PAGES, MEMORY(pages) },
	{ "zero", "ZERO", LISTING_PAGES, MEMORY(zero) },
	{ "private", "PRIVATE", LISTING_PAGES, MEMORY(private_pages) },
	{ "shared", "SHARED", LISTING_PAGES, MEMORY(shared) },
	{ "monitored", NULL, LISTING_PAGES, MEMORY(monitored) },
	{ "ballooned", "BALLOONED", LISTING_PAGES, MEMORY(ballooned) },
	{ "rom", "ROM", LISTING_PAGES, MEMORY(rom) },
	{ "rom_shadow", NULL, LISTING_PAGES, MEMORY(rom_shadow) },
	{ "device", NULL, LISTING_PAGES, MEMORY(device) },
	{ "handy", "HANDY", LISTING_PAGES, MEMORY(handy) },
	{ "reserved", "RESERVED", LISTING_PAGES, MEMORY(reserved) },
	{ "table_pages", "TABLES", LISTING_PAGES, MEMORY(table_pages) },
	{ "large", NULL, LISTING_COUNT, MEMORY(large) },
	{ "record_bytes", "RECORDS", LISTING_BYTES_K, MEMORY(record_bytes) },
	{ "ahead", NULL, LISTING_COUNT, MEMORY(ahead) },
	PGM_COUNTERS(COUNTER_ROW) /* for programs all counters, for people one: */
	{ NULL, "ELIDED", LISTING_PAGES, MEMORY(counters.elided) },
};
static const struct listing_columns memory_columns = LISTING_COLUMNS(memory_rows);

static void command_memory(const struct command_words *words)
{
	struct machine_figures machine;
	struct listing listing;
	struct vm *vm;
	if (!command_vms_start(words, &vm))
		return;
	machine_figures(&machine);
	listing_begin(&listing, words->is_json);
	listing_group(&listing, "machine", &machine_columns, &machine);
	listing_group(&listing, "gmm", &gmm_columns, &machine);
	if (!words->is_json)
		cost_print(&machine.gmm);
	listing_table_open(&listing, "vms", &memory_columns);
	for (; vm; vm = command_vms_next(words, vm)) {
		struct memory_row row = { .name = vm_name(vm) };
		vm_memory_figures(vm, &row.memory);
		listing_row(&listing, &row);
	}
	listing_table_close(&listing);
	listing_end(&listing);
}

static const struct command rows[] = {
	{ "memory", "[NAME] [--json]", "where the machine's memory is", command_memory,
	  command_candidate_vm, NULL },
};
const struct command_table commands_memory = { rows, ARRAY_COUNT(rows) };
