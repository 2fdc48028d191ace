/* SPDX-License-Identifier: MIT */
/* What sharing saves and costs, its switches, and the raw material for checking it from outside. */
#include "lib/format.h"
#include "lib/json.h"
#include "lib/number.h"
#include "lib/string.h"
#include "kernel/console.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "mm/share/share.h"
#include "vm/vm.h"
#include "reclaim/share_scan.h"
#include "operator/config.h"

#include "console_commands.h"

#define JSON_BYTES 2048u

/* --- share ------------------------------------------------------------------------------- */

static void json_send(struct json *json)
{
	size_t count;
	const char *text = json_take(json, &count);
	console_write(text, count);
}

static void scanner_json(struct json *json, const struct share_scan_stats *stats)
{
	json_object_open(json, "scanner");
	json_text(json, "state", stats->is_on ? "on" : "off");
	json_number(json, "cpu_percent", stats->cpu_percent);
	json_number(json, "rate_hundredths", stats->rate_percent);
	json_number(json, "passes", stats->passes);
	json_number(json, "ticks", stats->ticks);
	json_number(json, "pass_ticks", stats->pass_ticks);
	json_number(json, "looked", stats->share.looked);
	json_number(json, "skipped_state", stats->skipped_state);
	json_number(json, "skipped_written", stats->skipped_lately);
	json_number(json, "left_alone", stats->share.left_alone);
	json_number(json, "hashed_whole", stats->share.hashed_whole);
	json_object_close(json);
	json_object_open(json, "working_set");
	json_number(json, "bytes", stats->share.size_bytes);
	json_number(json, "entries", stats->share.entry_count);
	json_number(json, "candidates", stats->share.candidates);
	json_number(json, "shared_pages", stats->share.shared_pages);
	json_number(json, "evicted", stats->share.evicted);
	json_object_close(json);
}

static void results_json(struct json *json, const struct share_scan_stats *stats)
{
	json_object_open(json, "results");
	json_number(json, "merged", stats->merged);
	json_number(json, "zeroed", stats->zeroed);
	json_number(json, "broken", stats->share.broken);
	json_object_open(json, "rejected");
	for (unsigned i = 0; i < SCAN_REJECTION_COUNT; i++)
		json_number(json, share_scan_rejection_text((enum share_scan_rejection)i),
			    stats->rejected[i]);
	json_object_close(json);
	json_object_close(json);
}

static void vm_json(struct json *json, const struct vm *vm)
{
	struct pgm_stats memory;
	vm_memory_figures(vm, &memory);
	json_object_open(json, NULL);
	json_text(json, "name", vm_name(vm));
	json_text(json, "group", vm_configuration(vm)->share);
	json_number(json, "private", memory.private_pages);
	json_number(json, "shared", memory.shared);
	json_number(json, "zero", memory.zero);
	json_number(json, "broken", memory.copies);
	json_object_close(json);
	json_send(json);
}

static void share_json(const struct share_scan_stats *stats, const struct gmm_stats *gmm)
{
	char buffer[JSON_BYTES];
	struct json json;
	json_init(&json, buffer, sizeof(buffer));
	json_object_open(&json, NULL);
	scanner_json(&json, stats);
	results_json(&json, stats);
	json_number(&json, "pages_shared", gmm->shared_pages);
	json_number(&json, "shared_references", gmm->shared_references);
	json_number(&json, "pages_saved", gmm->pages_saved);
	json_array_open(&json, "vms");
	json_send(&json);
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm))
		vm_json(&json, vm);
	json_array_close(&json);
	json_object_close(&json);
	json_send(&json);
	console_write("\r\n", 2);
}

static void scanner_rows(const struct share_scan_stats *stats)
{
	const struct share_stats *share = &stats->share;
	console_print(
		"scanner   %s, %u %% of a CPU at most, %u.%02u %% now; %llu passes, the last of "
		"%llu us\n",
		stats->is_on ? "on" : "off", stats->cpu_percent, stats->rate_percent / 100,
		stats->rate_percent % 100, (unsigned long long)stats->passes,
		(unsigned long long)time_us_from_ticks(stats->pass_ticks));
	console_print("looked    at %llu pages; not at %llu written lately, %llu left alone\n",
		      (unsigned long long)share->looked, (unsigned long long)stats->skipped_lately,
		      (unsigned long long)share->left_alone);
	console_print("set       %lluK: %llu candidates and %llu shared pages in %llu entries\n",
		      (unsigned long long)(share->size_bytes >> 10),
		      (unsigned long long)share->candidates,
		      (unsigned long long)share->shared_pages,
		      (unsigned long long)share->entry_count);
	console_print("merged    %llu pages, zero %llu, broken again %llu; rejected:",
		      (unsigned long long)stats->merged, (unsigned long long)stats->zeroed,
		      (unsigned long long)share->broken);
	for (unsigned i = 0; i < SCAN_REJECTION_COUNT; i++)
		console_print(" %s %llu", share_scan_rejection_text((enum share_scan_rejection)i),
			      (unsigned long long)stats->rejected[i]);
	console_print("\n");
}

static void vm_row(const struct vm *vm)
{
	const char *group = vm_configuration(vm)->share;
	struct pgm_stats memory;
	vm_memory_figures(vm, &memory);
	console_print("%-15s %-15s %8lluK %8lluK %8lluK %8llu\n", vm_name(vm),
		      group[0] ? group : "none", (unsigned long long)memory.private_pages * 4,
		      (unsigned long long)memory.shared * 4, (unsigned long long)memory.zero * 4,
		      (unsigned long long)memory.copies);
}

static void share_listing(const struct share_scan_stats *stats, const struct gmm_stats *gmm)
{
	scanner_rows(stats);
	console_print("shared    %lluK stand for %lluK: %lluK saved\n",
		      (unsigned long long)gmm->shared_pages * 4,
		      (unsigned long long)gmm->shared_references * 4,
		      (unsigned long long)gmm->pages_saved * 4);
	console_print("%-15s %-15s %9s %9s %9s %8s\n", "NAME", "GROUP", "PRIVATE", "SHARED", "ZERO",
		      "BROKEN");
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm))
		vm_row(vm);
}

void command_share(const struct command_words *words)
{
	struct share_scan_stats stats;
	struct gmm_stats gmm;
	const char *word = words->count > 1 ? words->word[1] : "";
	if (strcmp(word, "on") == 0 || strcmp(word, "off") == 0) {
		share_scan_switch(strcmp(word, "on") == 0);
		return;
	}
	if (word[0]) {
		console_print("share: on, off, or nothing\n");
		return;
	}
	share_scan_stats(&stats);
	gmm_stats(&gmm);
	if (words->is_json)
		share_json(&stats, &gmm);
	else
		share_listing(&stats, &gmm);
}

void command_scan_cpu(const struct command_words *words)
{
	uint64_t percent;
	if (words->count < 2 || number_parse(words->word[1], 100, &percent) != Q_OK ||
	    percent < 1) {
		console_print("scan-cpu: a percentage, 1 to 100\n");
		return;
	}
	share_scan_cpu_set((unsigned)percent);
}

/* --- hashes: for scripts/share-oracle ------------------------------------------------------- */

/* Pages a line: consecutive frames. */
#define HASHES_PER_LINE 8u

/* Appends the hash of one page; returns whether the page has one. */
static bool hash_add(const struct vm *vm, gfn_t gfn, char *line, size_t *used, size_t size_bytes)
{
	struct pgm_page_view view;
	uint64_t hash;
	if (!pgm_page_look(vm_pgm(vm), gfn, &view) || !share_hash(view.id, &hash))
		return false;
	*used += format_text(line + *used, size_bytes - *used, " %s%016llx",
			     view.kind == PGM_PAGE_SHARED ? "=" : "", (unsigned long long)hash);
	return true;
}

/* One line: the frames from `first` on that have a page. Returns the frame after them. */
static gfn_t hashes_line(const struct vm *vm, gfn_t first)
{
	char line[HASHES_PER_LINE * 20 + 80];
	size_t used =
		format_text(line, sizeof(line), "hashes %s %s %llx", vm_name(vm),
			    vm_configuration(vm)->share[0] ? vm_configuration(vm)->share : "-",
			    (unsigned long long)first.raw);
	gfn_t at = first;
	while (at.raw < first.raw + HASHES_PER_LINE && hash_add(vm, at, line, &used, sizeof(line)))
		at = gfn_next(at);
	if (at.raw > first.raw)
		console_print("%s\n", line);
	return at.raw > first.raw ? at : gfn_next(at);
}

static void hashes_of(const struct vm *vm)
{
	gfn_t at = gfn(0);
	while (at.raw < pgm_ram_end(vm_pgm(vm)).raw) {
		at = hashes_line(vm, at);
		if (thread_should_yield())
			thread_yield();
	}
}

void command_hashes(const struct command_words *words)
{
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm))
		if (words->count < 2 || strcmp(words->word[1], vm_name(vm)) == 0)
			hashes_of(vm);
	console_print("hashes end\n");
}
