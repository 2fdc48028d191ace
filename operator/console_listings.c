/* SPDX-License-Identifier: MIT */
/*
 * The listings: aligned text for people, one JSON object on one line for
 * programs. Both print the same figures, collected once.
 */
#include <quire/layout.h>

#include "lib/format.h"
#include "lib/json.h"
#include "arch/x86_64/paging.h"
#include "kernel/console.h"
#include "kernel/heap.h"
#include "kernel/time.h"
#include "mm/gmm/gmm.h"
#include "vm/vm.h"
#include "operator/config.h"

#include "console_commands.h"

#define JSON_BYTES 1024u /* of one item of a listing */
#define SIZE_BYTES 16u

static void json_send(struct json *json)
{
	size_t count;
	const char *text = json_take(json, &count);
	console_write(text, count);
}

static void json_finish(struct json *json)
{
	json_send(json);
	console_write("\r\n", 2);
}

/* In KiB up to 10 MiB, then in MiB. */
static const char *size_text(uint64_t bytes, char *to)
{
	bool is_small = bytes < 10ull << 20;
	format_text(to, SIZE_BYTES, "%llu%c", (unsigned long long)(bytes >> (is_small ? 10 : 20)),
		    is_small ? 'K' : 'M');
	return to;
}

static const char *pages_text(uint64_t pages, char *to)
{
	return size_text(pages << PAGE_SHIFT, to);
}

/* The first VM that a listing shows: the named one, or all. False: there is no such VM. */
static bool selection_start(const struct command_words *words, struct vm **out_first)
{
	*out_first = words->count > 1 ? vm_find(words->word[1]) : vm_next(NULL);
	if (*out_first || words->count < 2)
		return true;
	console_print("%s: there is no VM '%s'\n", words->word[0], words->word[1]);
	return false;
}

static struct vm *selection_next(const struct command_words *words, const struct vm *vm)
{
	return words->count > 1 ? NULL : vm_next(vm);
}

/* --- list ---------------------------------------------------------------------------------- */

static uint64_t exits_total(const struct vm *vm)
{
	struct exit_figures figures[VMEXIT_KIND_COUNT];
	uint64_t total = 0;
	vm_exit_figures(vm, figures);
	for (unsigned i = 0; i < VMEXIT_KIND_COUNT; i++)
		total += figures[i].count;
	return total;
}

static void list_row(const struct vm *vm)
{
	char promised[SIZE_BYTES], private[SIZE_BYTES], shared[SIZE_BYTES], zero[SIZE_BYTES],
		ballooned[SIZE_BYTES];
	struct pgm_stats memory;
	vm_memory_figures(vm, &memory);
	uint64_t cpu_ms = time_us_from_ticks(vm_cpu_ticks(vm)) / 1000;
	console_print("%-15s %-22s %5u %8s %8s %8s %8s %9s %6llu.%03llus %9llu\n", vm_name(vm),
		      vm_state_text(vm), vm_configuration(vm)->vcpu_count,
		      pages_text(memory.pages, promised), pages_text(memory.private_pages, private),
		      pages_text(memory.shared, shared), pages_text(memory.zero, zero),
		      pages_text(memory.ballooned, ballooned), (unsigned long long)(cpu_ms / 1000),
		      (unsigned long long)(cpu_ms % 1000), (unsigned long long)exits_total(vm));
}

static void list_item(struct json *json, const struct vm *vm)
{
	struct pgm_stats memory;
	vm_memory_figures(vm, &memory);
	json_object_open(json, NULL);
	json_text(json, "name", vm_name(vm));
	json_text(json, "state", vm_state_text(vm));
	json_number(json, "vcpus", vm_configuration(vm)->vcpu_count);
	json_text(json, "priority", vm_priority_words[vm_configuration(vm)->priority]);
	json_number(json, "pages", memory.pages);
	json_number(json, "private", memory.private_pages);
	json_number(json, "shared", memory.shared);
	json_number(json, "zero", memory.zero);
	json_number(json, "ballooned", memory.ballooned);
	json_number(json, "cpu_us", time_us_from_ticks(vm_cpu_ticks(vm)));
	json_number(json, "exits", exits_total(vm));
	json_object_close(json);
	json_send(json);
}

static void list_json(void)
{
	char buffer[JSON_BYTES];
	struct json json;
	json_init(&json, buffer, sizeof(buffer));
	json_object_open(&json, NULL);
	json_array_open(&json, "vms");
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm))
		list_item(&json, vm);
	json_array_close(&json);
	json_object_close(&json);
	json_finish(&json);
}

void command_list(const struct command_words *words)
{
	if (words->is_json) {
		list_json();
		return;
	}
	console_print("%-15s %-22s %5s %8s %8s %8s %8s %9s %11s %9s\n", "NAME", "STATE", "VCPUS",
		      "MEMORY", "PRIVATE", "SHARED", "ZERO", "BALLOONED", "CPU", "EXITS");
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm))
		list_row(vm);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Quire's own, without what GMM charges to a VM: image, page tables, chunk records, heap. */
static uint64_t quire_bytes(const struct gmm_stats *gmm)
{
	return (uint64_t)(layout_image_end - layout_image_start) + paging_bytes() +
	       gmm->metadata_bytes + heap_bytes_used();
}

static void machine_json(struct json *json, const struct gmm_stats *gmm)
{
	json_object_open(json, "machine");
	json_number(json, "bytes", gmm->machine_pages << PAGE_SHIFT);
	json_number(json, "chunks", gmm->chunk_count + gmm->chunks_free);
	json_number(json, "chunks_free", gmm->chunks_free);
	json_number(json, "quire_bytes", quire_bytes(gmm));
	json_number(json, "tracking_bytes", gmm->metadata_bytes);
	json_object_close(json);
	json_object_open(json, "gmm");
	json_number(json, "pages_free", gmm->free_pages);
	json_number(json, "pages_private", gmm->private_pages);
	json_number(json, "pages_shared", gmm->shared_pages);
	json_number(json, "pages_kernel", gmm->kernel_pages);
	json_number(json, "shared_references", gmm->shared_references);
	json_number(json, "pages_saved", gmm->pages_saved);
	json_number(json, "reserved_pages", gmm->reserved_pages);
	json_number(json, "unclaimed_pages", gmm->unclaimed_pages);
	json_object_close(json);
}

static void memory_item(struct json *json, const struct vm *vm)
{
	struct pgm_stats memory;
	vm_memory_figures(vm, &memory);
	json_object_open(json, NULL);
	json_text(json, "name", vm_name(vm));
	json_number(json, "pages", memory.pages);
	json_number(json, "zero", memory.zero);
	json_number(json, "private", memory.private_pages);
	json_number(json, "shared", memory.shared);
	json_number(json, "monitored", memory.monitored);
	json_number(json, "ballooned", memory.ballooned);
	json_number(json, "rom", memory.rom);
	json_number(json, "rom_shadow", memory.rom_shadow);
	json_number(json, "device", memory.device);
	json_number(json, "handy", memory.handy);
	json_number(json, "reserved", memory.reserved);
	json_number(json, "table_pages", memory.table_pages);
	json_number(json, "large", memory.large);
	json_number(json, "record_bytes", memory.record_bytes);
	json_number(json, "faults_read", memory.faults_read);
	json_number(json, "faults_write", memory.faults_write);
	json_number(json, "refills", memory.refills);
	json_number(json, "elided", memory.elided);
	json_number(json, "ahead", memory.ahead);
	json_number(json, "ahead_given", memory.ahead_given);
	json_number(json, "ahead_taken", memory.ahead_taken);
	json_object_close(json);
	json_send(json);
}

static void memory_json(const struct command_words *words, struct vm *first,
			const struct gmm_stats *gmm)
{
	char buffer[JSON_BYTES];
	struct json json;
	json_init(&json, buffer, sizeof(buffer));
	json_object_open(&json, NULL);
	machine_json(&json, gmm);
	json_array_open(&json, "vms");
	json_send(&json);
	for (struct vm *vm = first; vm; vm = selection_next(words, vm))
		memory_item(&json, vm);
	json_array_close(&json);
	json_object_close(&json);
	json_finish(&json);
}

static void machine_rows(const struct gmm_stats *gmm)
{
	char a[SIZE_BYTES], b[SIZE_BYTES], c[SIZE_BYTES], d[SIZE_BYTES];
	console_print("machine   %s in %llu chunks, %llu of them free; Quire %s\n",
		      pages_text(gmm->machine_pages, a),
		      (unsigned long long)(gmm->chunk_count + gmm->chunks_free),
		      (unsigned long long)gmm->chunks_free, size_text(quire_bytes(gmm), b));
	console_print("chunks    private %s, shared %s (saves %s), kernel %s",
		      pages_text(gmm->private_pages, a), pages_text(gmm->shared_pages, b),
		      pages_text(gmm->pages_saved, c), pages_text(gmm->kernel_pages, d));
	console_print(", free %s\n", pages_text(gmm->free_pages, a));
	console_print("reserved  %s, of it not yet used %s\n", pages_text(gmm->reserved_pages, a),
		      pages_text(gmm->unclaimed_pages, b));
}

/*
 * What keeping track of memory costs, beside what the seed's text reckons with:
 * 16 bytes in the VM and 12 in the kernel for each page that guests were promised.
 */
#define SEED_RECORD_BYTES   16u
#define SEED_TRACKING_BYTES 12u

static void cost_row(const struct gmm_stats *gmm)
{
	char text[5][SIZE_BYTES];
	uint64_t pages = 0, records = 0, tables = 0;
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm)) {
		struct pgm_stats m;
		vm_memory_figures(vm, &m);
		pages += m.pages;
		records += m.record_bytes;
		tables += m.table_pages;
	}
	console_print("costs     records %s, nested tables %s, tracking %s (%llu bytes a page)",
		      size_text(records, text[0]), pages_text(tables, text[1]),
		      size_text(gmm->metadata_bytes, text[2]),
		      (unsigned long long)(gmm->metadata_bytes / gmm->machine_pages));
	console_print("; the seed's figures: %s for records and %s for tracking\n",
		      size_text(pages * SEED_RECORD_BYTES, text[3]),
		      size_text(pages * SEED_TRACKING_BYTES, text[4]));
}

static void memory_row(const struct vm *vm)
{
	struct pgm_stats m;
	char text[11][SIZE_BYTES];
	vm_memory_figures(vm, &m);
	console_print("%-15s %8s %8s %8s %8s %9s %6s %6s %8s %7s %7s %7s\n", vm_name(vm),
		      pages_text(m.pages, text[0]), pages_text(m.zero, text[1]),
		      pages_text(m.private_pages, text[2]), pages_text(m.shared, text[3]),
		      pages_text(m.ballooned, text[4]), pages_text(m.rom, text[5]),
		      pages_text(m.handy, text[6]), pages_text(m.reserved, text[7]),
		      pages_text(m.table_pages, text[8]), size_text(m.record_bytes, text[9]),
		      pages_text(m.elided, text[10]));
}

void command_memory(const struct command_words *words)
{
	struct gmm_stats gmm;
	struct vm *first;
	if (!selection_start(words, &first))
		return;
	gmm_stats(&gmm);
	if (words->is_json) {
		memory_json(words, first, &gmm);
		return;
	}
	machine_rows(&gmm);
	cost_row(&gmm);
	console_print("%-15s %8s %8s %8s %8s %9s %6s %6s %8s %7s %7s %7s\n", "NAME", "MEMORY",
		      "ZERO", "PRIVATE", "SHARED", "BALLOONED", "ROM", "HANDY", "RESERVED",
		      "TABLES", "RECORDS", "ELIDED");
	for (struct vm *vm = first; vm; vm = selection_next(words, vm))
		memory_row(vm);
}

/* --- exits ---------------------------------------------------------------------------------------- */

static void exits_item(struct json *json, const struct vm *vm)
{
	struct exit_figures figures[VMEXIT_KIND_COUNT];
	vm_exit_figures(vm, figures);
	json_object_open(json, NULL);
	json_text(json, "name", vm_name(vm));
	json_object_open(json, "exits");
	for (unsigned kind = 0; kind < VMEXIT_KIND_COUNT; kind++) {
		json_object_open(json, vmexit_kind_name(kind));
		json_number(json, "count", figures[kind].count);
		json_number(json, "ticks", figures[kind].ticks);
		json_object_close(json);
		json_send(json);
	}
	json_object_close(json);
	json_object_close(json);
	json_send(json);
}

static void exits_json(const struct command_words *words, struct vm *first)
{
	char buffer[JSON_BYTES];
	struct json json;
	json_init(&json, buffer, sizeof(buffer));
	json_object_open(&json, NULL);
	json_array_open(&json, "vms");
	for (struct vm *vm = first; vm; vm = selection_next(words, vm))
		exits_item(&json, vm);
	json_array_close(&json);
	json_object_close(&json);
	json_finish(&json);
}

static void exits_rows(const struct vm *vm)
{
	struct exit_figures figures[VMEXIT_KIND_COUNT];
	vm_exit_figures(vm, figures);
	for (unsigned kind = 0; kind < VMEXIT_KIND_COUNT; kind++) {
		const struct exit_figures *f = &figures[kind];
		if (!f->count)
			continue;
		console_print("%-15s %-18s %12llu %16llu %10llu\n", vm_name(vm),
			      vmexit_kind_name(kind), (unsigned long long)f->count,
			      (unsigned long long)f->ticks,
			      (unsigned long long)(f->ticks / f->count));
	}
}

void command_exits(const struct command_words *words)
{
	struct vm *first;
	if (!selection_start(words, &first))
		return;
	if (words->is_json) {
		exits_json(words, first);
		return;
	}
	console_print("%-15s %-18s %12s %16s %10s\n", "NAME", "EXIT", "COUNT", "TICKS", "AVERAGE");
	for (struct vm *vm = first; vm; vm = selection_next(words, vm))
		exits_rows(vm);
}
