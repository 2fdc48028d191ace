/* SPDX-License-Identifier: MIT */
/* Commands about sharing: what it saves and costs, its switches, hashes for checks from outside. */
#include "lib/format.h"
#include "lib/number.h"
#include "lib/string.h"
#include "kernel/console.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "mm/gmm/gmm.h"
#include "mm/share/share.h"
#include "vm/vm.h"
#include "vm/vm_config.h"
#include "reclaim/share_scan.h"
#include "operator/commands.h"
#include "operator/listing.h"

/* --- share ------------------------------------------------------------------------------------ */

struct share_figures {
	struct share_scan_stats scan;
	struct gmm_stats gmm;
	const char *state;
	uint64_t cpu_percent, rate_hundredths, pass_us;
};

#define FIGURE(field) offsetof(struct share_figures, field)
static const struct listing_column scanner_rows[] = {
	{ "state", "is", LISTING_NAME, FIGURE(state) },
	{ "cpu_percent", "CPU percent at most", LISTING_COUNT, FIGURE(cpu_percent) },
	{ "rate_hundredths", "now", LISTING_PERCENT, FIGURE(rate_hundredths) },
	{ "passes", "passes", LISTING_COUNT, FIGURE(scan.passes) },
	{ "ticks", NULL, LISTING_TICKS, FIGURE(scan.ticks) },
	{ "pass_ticks", NULL, LISTING_TICKS, FIGURE(scan.pass_ticks) },
	{ "pass_us", "the last of", LISTING_TIME, FIGURE(pass_us) },
	{ "looked", "pages looked at", LISTING_COUNT, FIGURE(scan.share.looked) },
	{ "skipped_state", NULL, LISTING_COUNT, FIGURE(scan.skipped_state) },
	{ "skipped_written", "written lately", LISTING_COUNT, FIGURE(scan.skipped_lately) },
	{ "left_alone", "left alone", LISTING_COUNT, FIGURE(scan.share.left_alone) },
	{ "hashed_whole", NULL, LISTING_COUNT, FIGURE(scan.share.hashed_whole) },
};
static const struct listing_columns scanner_columns = LISTING_COLUMNS(scanner_rows);

static const struct listing_column working_set_rows[] = {
	{ "bytes", "has", LISTING_BYTES_K, FIGURE(scan.share.size_bytes) },
	{ "entries", "entries", LISTING_COUNT, FIGURE(scan.share.entry_count) },
	{ "candidates", "candidates", LISTING_COUNT, FIGURE(scan.share.candidates) },
	{ "shared_pages", "shared pages", LISTING_COUNT, FIGURE(scan.share.shared_pages) },
	{ "evicted", "evicted", LISTING_COUNT, FIGURE(scan.share.evicted) },
};
static const struct listing_columns working_set_columns = LISTING_COLUMNS(working_set_rows);

static const struct listing_column result_rows[] = {
	{ "merged", "merged", LISTING_COUNT, FIGURE(scan.merged) },
	{ "zeroed", "zeroed", LISTING_COUNT, FIGURE(scan.zeroed) },
	{ "broken", "broken again", LISTING_COUNT, FIGURE(scan.share.broken) },
};
static const struct listing_columns result_columns = LISTING_COLUMNS(result_rows);

static const struct listing_column saved_rows[] = {
	{ "pages_shared", "stored", LISTING_PAGES, FIGURE(gmm.shared_pages) },
	{ "shared_references", "for", LISTING_PAGES, FIGURE(gmm.shared_references) },
	{ "pages_saved", "saved", LISTING_PAGES, FIGURE(gmm.pages_saved) },
};
static const struct listing_columns saved_columns = LISTING_COLUMNS(saved_rows);

struct share_row {
	const char *name, *group;
	struct pgm_stats memory;
};

static const struct listing_column share_rows[] = {
	{ "name", "NAME", LISTING_NAME, offsetof(struct share_row, name) },
	{ "group", "GROUP", LISTING_NAME, offsetof(struct share_row, group) },
	{ "private", "PRIVATE", LISTING_PAGES, offsetof(struct share_row, memory.private_pages) },
	{ "shared", "SHARED", LISTING_PAGES, offsetof(struct share_row, memory.shared) },
	{ "zero", "ZERO", LISTING_PAGES, offsetof(struct share_row, memory.zero) },
	{ "broken", "BROKEN", LISTING_COUNT, offsetof(struct share_row, memory.counters.copies) },
};
static const struct listing_columns share_columns = LISTING_COLUMNS(share_rows);

static void share_figures(struct share_figures *out_figures)
{
	share_scan_stats(&out_figures->scan);
	gmm_stats(&out_figures->gmm);
	out_figures->state = out_figures->scan.is_on ? "on" : "off";
	out_figures->cpu_percent = out_figures->scan.cpu_percent;
	out_figures->rate_hundredths = out_figures->scan.rate_hundredths;
	out_figures->pass_us = time_us_from_ticks(out_figures->scan.pass_ticks);
}

/* Lists how many proposed merges came to nothing, by reason. */
static void rejected_list(struct listing *listing, const struct share_scan_stats *stats)
{
	struct listing_column rows[SCAN_REJECTION_COUNT];
	const struct listing_columns columns = LISTING_COLUMNS(rows);
	for (unsigned i = 0; i < SCAN_REJECTION_COUNT; i++) {
		const char *text = share_scan_rejection_text((enum share_scan_rejection)i);
		rows[i] = (struct listing_column){ text, text, LISTING_COUNT,
						   i * sizeof(stats->rejected[0]) };
	}
	listing_group(listing, "rejected", &columns, stats->rejected);
}

static void share_list(struct listing *listing, const struct share_figures *figures)
{
	listing_group(listing, "scanner", &scanner_columns, figures);
	listing_group(listing, "working_set", &working_set_columns, figures);
	listing_open(listing, "results");
	listing_fields(listing, "results", &result_columns, figures);
	rejected_list(listing, &figures->scan);
	listing_close(listing);
	listing_fields(listing, "pages", &saved_columns, figures);
	listing_table_open(listing, "vms", &share_columns);
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm)) {
		const char *group = vm_configuration(vm)->share;
		/* A VM that shares with none has no group: programs get an empty name. */
		struct share_row row = { .name = vm_name(vm),
					 .group = group[0] || listing->is_json ? group : "none" };
		vm_memory_figures(vm, &row.memory);
		listing_row(listing, &row);
	}
	listing_table_close(listing);
}

static void command_share(const struct command_words *words)
{
	const char *word = words->count > 1 ? words->word[1] : "";
	if (strcmp(word, "on") == 0 || strcmp(word, "off") == 0) {
		share_scan_switch(strcmp(word, "on") == 0);
		return;
	}
	if (word[0]) {
		console_print("share: '%.40s': it must be on, off, or nothing\n", word);
		return;
	}
	struct share_figures figures;
	struct listing listing;
	share_figures(&figures);
	listing_begin(&listing, words->is_json);
	share_list(&listing, &figures);
	listing_end(&listing);
}

static void command_scan_cpu(const struct command_words *words)
{
	const char *word = words->count > 1 ? words->word[1] : "";
	uint64_t percent;
	if (number_parse(word, 100, &percent) == Q_OK && percent >= 1)
		share_scan_cpu_set((unsigned)percent);
	else
		console_print("scan-cpu: '%.40s': it must be a number from 1 to 100\n", word);
}

/* --- hashes: for scripts/share-oracle --------------------------------------------------------- */

/* The most pages on a line: consecutive frames. */
#define HASHES_PER_LINE 8u

/* Appends the hash of a page. False: the page has none. */
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

/* Prints a line with the frames from `first` on that have a hash. Returns the next frame. */
static gfn_t hashes_line(const struct vm *vm, gfn_t first)
{
	const char *group = vm_configuration(vm)->share;
	char line[HASHES_PER_LINE * 20 + 80];
	size_t used = format_text(line, sizeof(line), "hashes %s %s %llx", vm_name(vm),
				  group[0] ? group : "-", (unsigned long long)first.raw);
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

static void command_hashes(const struct command_words *words)
{
	struct vm *vm;
	if (!command_vms_start(words, &vm))
		return;
	for (; vm; vm = command_vms_next(words, vm))
		hashes_of(vm);
	console_print("hashes end\n");
}

static const struct command rows[] = {
	{ "share", "[on|off] [--json]", "what sharing saves and costs; switches the scanner",
	  command_share, NULL, NULL },
	{ "scan-cpu", "PERCENT", "the sharing scanner's share of one CPU, 1 to 100",
	  command_scan_cpu, NULL, NULL },
	{ "hashes", "[NAME]", "hashes of all pages that are not zero, for scripts/share-oracle",
	  command_hashes, command_candidate_vm, NULL },
};
const struct command_table commands_share = { rows, ARRAY_COUNT(rows) };
