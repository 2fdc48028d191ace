/* SPDX-License-Identifier: MIT */
/*
 * list, memory, exits and share, as text and as JSON: every figure stands where its title and its
 * key say, for no VM and for several.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <quire/layout.h>

#include "kernel/heap.h"
#include "mm/pgm/pgm_device.h"
#include "mm/pgm/pgm_rom_shadow.h"
#include "operator/listing.h"

#include "json_read.h"
#include "operator_fixture.h"

#define EQUAL_FIRST 512u /* frames of `one` that hold the same bytes */
#define EQUAL_COUNT 3u

/* --- two guests, of which the first has some of everything ----------------------------------------- */

static struct gmm_stats gmm;
static struct pgm_stats one, two;

static page_id_t id_at(struct pgm *pgm, uint64_t frame)
{
	struct pgm_page_view view;
	EXPECT(pgm_page_look(pgm, gfn(frame), &view));
	return view.id;
}

static void pages_share(struct pgm *pgm)
{
	struct gmm_page shared;
	unsigned done;
	EXPECT(gmm_shared_alloc(&shared) == Q_OK);
	gmm_page_copy(shared.id, id_at(pgm, EQUAL_FIRST));
	for (uint64_t i = EQUAL_FIRST; i < EQUAL_FIRST + EQUAL_COUNT; i++) {
		page_id_t id = id_at(pgm, i);
		EXPECT(pgm_page_monitor(pgm, gfn(i), id) == Q_OK);
		EXPECT(pgm_page_share(pgm, gfn(i), id, shared.id) == Q_OK);
	}
	EXPECT(gmm_shared_put(GMM_VM_QUIRE, &shared.id, 1, &done) == Q_OK);
}

static void rom_add(struct pgm *pgm)
{
	static uint8_t image[4 * PAGE_SIZE];
	static const uint8_t byte = 1;
	memset(image, 1, sizeof(image));
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(0xe0000), image, sizeof(image)) == Q_OK);
	EXPECT(pgm_rom_mode_set(pgm, gpa(0xe0000), PAGE_SIZE, PGM_ROM_READ_ROM_WRITE_RAM) == Q_OK);
	EXPECT(pgm_write(pgm, gpa(0xe0000), &byte, 1, NULL) == Q_OK);
}

static void device_add(struct pgm *pgm)
{
	struct pgm_device *device;
	EXPECT(pgm_device_add(pgm, 6 * PAGE_SIZE, &device) == Q_OK);
	EXPECT(pgm_device_map(pgm, device, gpa(0xd0000000)) == Q_OK);
}

static void figures_read(void)
{
	gmm_stats(&gmm);
	vm_memory_figures(vm_named("one"), &one);
	vm_memory_figures(vm_named("two"), &two);
}

static void guests_set_up(void)
{
	static const gfn_t ballooned[] = { { 700 }, { 701 }, { 702 }, { 703 }, { 704 } };
	unsigned done;
	operator_at_prompt();
	EXPECT_DONE("create one memory=16M reserve=6M kernel=vmlinuz priority=high share=lab "
		    "vcpus=2");
	EXPECT_DONE("create two memory=12M kernel=vmlinuz share=none overcommit=none "
		    "autostart=no");
	struct pgm *pgm = vm_pgm(vm_named("one"));
	guest_touches("one", 600, 17);
	for (uint64_t i = EQUAL_FIRST; i < EQUAL_FIRST + EQUAL_COUNT; i++)
		EXPECT(pgm_write(pgm, gpa(i << PAGE_SHIFT), "equal", 5, NULL) == Q_OK);
	pages_share(pgm);
	for (uint64_t i = 600; i < 603; i++)
		EXPECT(pgm_page_monitor(pgm, gfn(i), id_at(pgm, i)) == Q_OK);
	pgm_balloon_inflate(pgm, ballooned, ARRAY_COUNT(ballooned), &done);
	EXPECT(done == ARRAY_COUNT(ballooned));
	for (uint64_t i = 800; i < 807; i++)
		EXPECT(pgm_zero_fill(pgm, gfn(i)));
	rom_add(pgm);
	device_add(pgm);
	/* The guest breaks a page's sharing; GMM hears of it when the VM's stock is refilled. */
	EXPECT(pgm_write(pgm, gpa(EQUAL_FIRST << PAGE_SHIFT), "other", 5, NULL) == Q_OK);
	EXPECT(pgm_handy_refill(pgm) == Q_OK);
	figures_read();
}

/* Bytes as people read them. */
static const char *size(uint64_t bytes)
{
	static char text[16][16];
	static unsigned next;
	next = (next + 1) % ARRAY_COUNT(text);
	return listing_size_text(bytes, text[next], sizeof(text[next]));
}

static const char *pages(uint64_t count)
{
	return size(count << PAGE_SHIFT);
}

static struct exit_figures exits_of(enum vmexit_kind kind)
{
	/* One kind that did not occur, and one average that is rounded down. */
	struct exit_figures figures = { .count = kind == VMEXIT_CPUID ? 0 : kind * 3 + 1,
					.ticks = kind == VMEXIT_CPUID ? 0 : (kind + 1) * 1000 };
	return figures;
}

static void exits_set_up(void)
{
	for (unsigned kind = 0; kind < VMEXIT_KIND_COUNT; kind++)
		guest_exits[kind] = exits_of((enum vmexit_kind)kind);
}

/* A JSON answer without its newline; it is one line. Good until the next call. */
static const char *object(const char *line)
{
	static char *text;
	free(text);
	text = strdup(answer(line));
	size_t length = strlen(text);
	EXPECT(length && strchr(text, '\n') == text + length - 1);
	text[length - 1] = 0;
	EXPECT(json_is_valid(text));
	return text;
}

static void expect_number(const char *text, const char *path, uint64_t number)
{
	uint64_t got = json_number_at(text, path);
	if (got != number)
		fail_msg("%s is %" PRIu64 ", not %" PRIu64, path, got, number);
}

/* --- list ------------------------------------------------------------------------------------------- */

#define LIST_TITLES                                                                            \
	"NAME            STATE                     VCPUS   MEMORY  PRIVATE   SHARED     ZERO " \
	"BALLOONED         CPU    EXITS\n"

TEST(operator_figures, list_for_people)
{
	char text[512];
	guests_set_up();
	exits_set_up();
	guest_ticks = 1234567000;
	uint64_t exits = 0;
	for (unsigned kind = 0; kind < VMEXIT_KIND_COUNT; kind++)
		exits += guest_exits[kind].count;
	snprintf(text, sizeof(text),
		 LIST_TITLES "%-15s %-22s %8u %8s %8s %8s %8s %9s %11s %8" PRIu64 "\n"
			     "%-15s %-22s %8u %8s %8s %8s %8s %9s %11s %8" PRIu64 "\n",
		 "one", "running", 2, pages(one.pages), pages(one.private_pages), pages(one.shared),
		 pages(one.zero), pages(one.ballooned), "1.234s", exits, "two", "created", 1,
		 pages(two.pages), pages(two.private_pages), pages(two.shared), pages(two.zero),
		 pages(two.ballooned), "1.234s", exits);
	EXPECT_ANSWER("list", text);
	operator_at_prompt();
	EXPECT_ANSWER("list", LIST_TITLES);
}

TEST(operator_figures, list_for_programs)
{
	guests_set_up();
	exits_set_up();
	guest_ticks = 1234567000;
	const char *text = object("list --json");
	assert_string_equal(json_keys_at(text, ""), "vms");
	EXPECT(json_count_at(text, "vms") == 2);
	for (unsigned i = 0; i < 2; i++)
		assert_string_equal(json_keys_at(text, i ? "vms[1]" : "vms[0]"),
				    "name,state,vcpus,priority,pages,private,shared,zero,"
				    "ballooned,cpu_us,exits");
	assert_string_equal(json_text_at(text, "vms[0].name"), "one");
	assert_string_equal(json_text_at(text, "vms[0].state"), "running");
	assert_string_equal(json_text_at(text, "vms[0].priority"), "high");
	assert_string_equal(json_text_at(text, "vms[1].state"), "created");
	assert_string_equal(json_text_at(text, "vms[1].priority"), "normal");
	expect_number(text, "vms[0].vcpus", 2);
	expect_number(text, "vms[1].vcpus", 1);
	expect_number(text, "vms[0].pages", one.pages);
	expect_number(text, "vms[0].private", one.private_pages);
	expect_number(text, "vms[0].shared", one.shared);
	expect_number(text, "vms[0].zero", one.zero);
	expect_number(text, "vms[0].ballooned", one.ballooned);
	expect_number(text, "vms[0].cpu_us", 1234567);
	uint64_t exits = 0;
	for (unsigned kind = 0; kind < VMEXIT_KIND_COUNT; kind++)
		exits += guest_exits[kind].count;
	expect_number(text, "vms[0].exits", exits);
}

/* --- memory ------------------------------------------------------------------------------------------ */

/* The scene would prove little if two figures that could be mixed up were equal. */
TEST(operator_figures, the_figures_of_a_vm_differ)
{
	guests_set_up();
	const uint64_t figures[] = { one.pages,     one.zero,      one.private_pages, one.shared,
				     one.monitored, one.ballooned, one.rom,           one.device,
				     one.handy,     one.reserved,  one.table_pages };
	EXPECT(one.shared == EQUAL_COUNT - 1 && one.ballooned == 5 && one.rom == 4);
	EXPECT(one.rom_shadow == 1 && one.device == 6 && one.counters.elided == 7);
	EXPECT(one.counters.copies == 1 && one.monitored == 3);
	for (unsigned i = 0; i < ARRAY_COUNT(figures); i++)
		for (unsigned k = 0; k < i; k++)
			if (figures[i] == figures[k])
				fail_msg("%u and %u are both %" PRIu64, i, k, figures[i]);
}

static uint64_t quire_bytes(void)
{
	return (uint64_t)(layout_image_end - layout_image_start) + 5 * PAGE_SIZE +
	       gmm.metadata_bytes + heap_bytes_used();
}

static const char *machine_text(void)
{
	static char text[512];
	uint64_t records = one.record_bytes + two.record_bytes, promised = one.pages + two.pages;
	snprintf(
		text, sizeof(text),
		"machine     memory %s, chunks %" PRIu64 ", free %" PRIu64
		", Quire %s, tracking %s\n"
		"gmm         free %s, private %s, shared %s, kernel %s, saved %s, reserved %s, not "
		"yet used %s\n"
		"costs     records %s, nested tables %s, tracking %s (%" PRIu64
		" bytes a page); docs/seed.md gives %s for records and %s for tracking\n",
		pages(gmm.machine_pages), gmm.chunk_count + gmm.chunks_free, gmm.chunks_free,
		size(quire_bytes()), size(gmm.metadata_bytes), pages(gmm.free_pages),
		pages(gmm.private_pages), pages(gmm.shared_pages), pages(gmm.kernel_pages),
		pages(gmm.pages_saved), pages(gmm.reserved_pages), pages(gmm.claimed_pages),
		size(records), pages(one.table_pages + two.table_pages), size(gmm.metadata_bytes),
		gmm.metadata_bytes / gmm.machine_pages, size(promised * 16), size(promised * 12));
	return text;
}

#define MEMORY_TITLES                                                                      \
	"NAME              MEMORY     ZERO  PRIVATE   SHARED BALLOONED      ROM    HANDY " \
	"RESERVED   "                                                                      \
	"TABLES  RECORDS   ELIDED\n"

static const char *memory_row(const char *name, const struct pgm_stats *m)
{
	static char text[2][160];
	char *to = text[name[0] == 't'];
	snprintf(to, sizeof(text[0]), "%-15s %8s %8s %8s %8s %9s %8s %8s %8s %8s %8s %8s\n", name,
		 pages(m->pages), pages(m->zero), pages(m->private_pages), pages(m->shared),
		 pages(m->ballooned), pages(m->rom), pages(m->handy), pages(m->reserved),
		 pages(m->table_pages), size(m->record_bytes), pages(m->counters.elided));
	return to;
}

TEST(operator_figures, memory_for_people)
{
	char text[1024];
	guests_set_up();
	snprintf(text, sizeof(text), "%s" MEMORY_TITLES "%s%s", machine_text(),
		 memory_row("one", &one), memory_row("two", &two));
	EXPECT_ANSWER("memory", text);
	/* The sums are the machine's, whichever VM is asked for. */
	snprintf(text, sizeof(text), "%s" MEMORY_TITLES "%s", machine_text(),
		 memory_row("two", &two));
	EXPECT_ANSWER("memory two", text);
	EXPECT_ANSWER("memory three", "memory: there is no VM 'three'\n");
	EXPECT_ANSWER("memory three --json", "memory: there is no VM 'three'\n");
}

TEST(operator_figures, memory_without_vms)
{
	operator_at_prompt();
	gmm_stats(&gmm);
	memset(&one, 0, sizeof(one));
	memset(&two, 0, sizeof(two));
	const char *text = answer("memory");
	const char *table = strstr(text, "NAME ");
	assert_non_null(table);
	assert_string_equal(table, MEMORY_TITLES);
	EXPECT(strncmp(text, machine_text(), strlen(machine_text())) == 0);
	EXPECT(json_count_at(object("memory --json"), "vms") == 0);
}

#define COUNTER_KEY(name, text) "," #name
#define MEMORY_KEYS                                                                                \
	"name,pages,zero,private,shared,monitored,ballooned,rom,rom_shadow,device,handy,reserved," \
	"table_pages,large,record_bytes,ahead" PGM_COUNTERS(COUNTER_KEY)

static void expect_vm_memory(const char *text, const char *prefix, const struct pgm_stats *m)
{
	const struct {
		const char *key;
		uint64_t number;
	} rows[] = { { "pages", m->pages },
		     { "zero", m->zero },
		     { "private", m->private_pages },
		     { "shared", m->shared },
		     { "monitored", m->monitored },
		     { "ballooned", m->ballooned },
		     { "rom", m->rom },
		     { "rom_shadow", m->rom_shadow },
		     { "device", m->device },
		     { "handy", m->handy },
		     { "reserved", m->reserved },
		     { "table_pages", m->table_pages },
		     { "large", m->large },
		     { "record_bytes", m->record_bytes },
		     { "ahead", m->ahead },
#define COUNTER_NUMBER(name, text) { #name, m->counters.name },
		     PGM_COUNTERS(COUNTER_NUMBER) };
	char path[64];
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		snprintf(path, sizeof(path), "%s.%s", prefix, rows[i].key);
		expect_number(text, path, rows[i].number);
	}
}

TEST(operator_figures, memory_for_programs)
{
	guests_set_up();
	uint64_t quire = quire_bytes();
	const char *text = object("memory --json");
	assert_string_equal(json_keys_at(text, ""), "machine,gmm,vms");
	assert_string_equal(json_keys_at(text, "machine"),
			    "bytes,chunks,chunks_free,quire_bytes,tracking_bytes");
	assert_string_equal(json_keys_at(text, "gmm"),
			    "pages_free,pages_private,pages_shared,pages_kernel,shared_references,"
			    "pages_saved,reserved_pages,claimed_pages");
	expect_number(text, "machine.bytes", MACHINE_BYTES);
	expect_number(text, "machine.chunks", MACHINE_BYTES / GMM_CHUNK_SIZE);
	expect_number(text, "machine.chunks_free", gmm.chunks_free);
	expect_number(text, "machine.quire_bytes", quire);
	expect_number(text, "machine.tracking_bytes", gmm.metadata_bytes);
	expect_number(text, "gmm.pages_free", gmm.free_pages);
	expect_number(text, "gmm.pages_private", gmm.private_pages);
	expect_number(text, "gmm.pages_shared", 1);
	expect_number(text, "gmm.pages_kernel", gmm.kernel_pages);
	expect_number(text, "gmm.shared_references", EQUAL_COUNT - 1);
	expect_number(text, "gmm.pages_saved", EQUAL_COUNT - 2);
	expect_number(text, "gmm.reserved_pages", gmm.reserved_pages);
	expect_number(text, "gmm.claimed_pages", gmm.claimed_pages);
	EXPECT(json_count_at(text, "vms") == 2);
	assert_string_equal(json_keys_at(text, "vms[0]"), MEMORY_KEYS);
	assert_string_equal(json_keys_at(text, "vms[1]"), MEMORY_KEYS);
	assert_string_equal(json_text_at(text, "vms[1].name"), "two");
	expect_vm_memory(text, "vms[0]", &one);
	expect_vm_memory(text, "vms[1]", &two);
	text = object("memory two --json");
	EXPECT(json_count_at(text, "vms") == 1);
	expect_vm_memory(text, "vms[0]", &two);
	expect_number(text, "machine.chunks_free", gmm.chunks_free);
}

TEST(operator_figures, the_sums_hold_exactly)
{
	guests_set_up();
	const char *text = object("memory --json");
	uint64_t used = json_number_at(text, "machine.chunks") -
			json_number_at(text, "machine.chunks_free");
	EXPECT(used * GMM_PAGES_PER_CHUNK == json_number_at(text, "gmm.pages_free") +
						     json_number_at(text, "gmm.pages_private") +
						     json_number_at(text, "gmm.pages_shared") +
						     json_number_at(text, "gmm.pages_kernel"));
	EXPECT(json_number_at(text, "gmm.shared_references") ==
	       json_number_at(text, "vms[0].shared") + json_number_at(text, "vms[1].shared"));
	EXPECT(json_number_at(text, "gmm.shared_references") ==
	       json_number_at(text, "gmm.pages_shared") + json_number_at(text, "gmm.pages_saved"));
	for (unsigned i = 0; i < 2; i++) {
		const struct pgm_stats *m = i ? &two : &one;
		EXPECT(m->pages == m->zero + m->private_pages + m->shared + m->ballooned);
	}
}

/* --- exits ------------------------------------------------------------------------------------------- */

static void exits_rows(const char *name, char *to, size_t size_bytes)
{
	size_t used = strlen(to);
	for (unsigned kind = 0; kind < VMEXIT_KIND_COUNT; kind++) {
		const struct exit_figures *figures = &guest_exits[kind];
		if (figures->count)
			used += (size_t)snprintf(
				to + used, size_bytes - used,
				"%-15s %-22s %8" PRIu64 " %16" PRIu64 " %8" PRIu64 "\n", name,
				vmexit_kind_name((enum vmexit_kind)kind), figures->count,
				figures->ticks, figures->ticks / figures->count);
	}
}

#define EXITS_TITLES "NAME            EXIT                      COUNT            TICKS  AVERAGE\n"

TEST(operator_figures, exits_for_people)
{
	char text[4096] = EXITS_TITLES;
	guests_set_up();
	EXPECT_ANSWER("exits", EXITS_TITLES);
	exits_set_up();
	exits_rows("one", text, sizeof(text));
	EXPECT(!strstr(text, "cpuid") && strstr(text, "host-interrupt"));
	EXPECT_ANSWER("exits one", text);
	exits_rows("two", text, sizeof(text));
	EXPECT_ANSWER("exits", text);
	EXPECT_ANSWER("exits three", "exits: there is no VM 'three'\n");
	operator_at_prompt();
	EXPECT_ANSWER("exits", EXITS_TITLES);
	EXPECT_ANSWER("exits --json", "{\"vms\":[]}\n");
}

TEST(operator_figures, exits_for_programs)
{
	char path[64];
	guests_set_up();
	exits_set_up();
	const char *text = object("exits --json");
	EXPECT(json_count_at(text, "vms") == 2);
	assert_string_equal(json_keys_at(text, "vms[0]"), "name,exits");
	assert_string_equal(json_text_at(text, "vms[0].name"), "one");
	assert_string_equal(json_text_at(text, "vms[1].name"), "two");
	assert_string_equal(json_keys_at(text, "vms[0].exits"),
			    "host-interrupt,interrupt-window,cpuid,hlt,pio,rdmsr,wrmsr,memory,"
			    "hypercall,xsetbv,invalid-opcode,wbinvd,exception,shutdown,fatal");
	for (unsigned kind = 0; kind < VMEXIT_KIND_COUNT; kind++) {
		const char *name = vmexit_kind_name((enum vmexit_kind)kind);
		snprintf(path, sizeof(path), "vms[1].exits.%s", name);
		assert_string_equal(json_keys_at(text, path), "count,ticks");
		snprintf(path, sizeof(path), "vms[1].exits.%s.count", name);
		expect_number(text, path, guest_exits[kind].count);
		snprintf(path, sizeof(path), "vms[1].exits.%s.ticks", name);
		expect_number(text, path, guest_exits[kind].ticks);
	}
	text = object("exits two --json");
	EXPECT(json_count_at(text, "vms") == 1);
	assert_string_equal(json_text_at(text, "vms[0].name"), "two");
}

/* --- share ------------------------------------------------------------------------------------------- */

static void scan_set_up(void)
{
	guests_set_up();
	scan_stats = (struct share_scan_stats){
		.share = { .size_bytes = 5 * 4096,
			   .entry_count = 102,
			   .candidates = 103,
			   .shared_pages = 104,
			   .looked = 105,
			   .left_alone = 106,
			   .evicted = 107,
			   .broken = 108,
			   .hashed_whole = 109 },
		.rate_hundredths = 199,
		.ticks = 110,
		.passes = 111,
		.pass_ticks = 2345678000,
		.skipped_lately = 113,
		.skipped_state = 114,
		.merged = 115,
		.zeroed = 116,
		.rejected = { 117, 118, 119, 120 },
	};
}

TEST(operator_figures, share_for_people)
{
	char text[2048];
	scan_set_up();
	snprintf(text, sizeof(text),
		 "scanner     is on, CPU percent at most 2, now 1.99%%, passes 111, the last of "
		 "2.345s, "
		 "pages looked at 105, written lately 113, left alone 106\n"
		 "working_set has 20K, entries 102, candidates 103, shared pages 104, evicted 107\n"
		 "results     merged 115, zeroed 116, broken again 108\n"
		 "rejected    changed 117, different 118, written 119, no_memory 120\n"
		 "pages       stored 4K, for 8K, saved 4K\n"
		 "NAME            GROUP            PRIVATE   SHARED     ZERO   BROKEN\n"
		 "%-15s %-15s %8s %8s %8s %8u\n"
		 "%-15s %-15s %8s %8s %8s %8u\n",
		 "one", "lab", pages(one.private_pages), pages(one.shared), pages(one.zero), 1,
		 "two", "none", pages(two.private_pages), pages(two.shared), pages(two.zero), 0);
	EXPECT_ANSWER("share", text);
	/* The state is 15 columns wide in a table, and as long as it is in a line. */
	EXPECT_DONE("share off");
	EXPECT(strncmp(answer("share"), "scanner     is off, CPU percent at most 2, ", 43) == 0);
}

TEST(operator_figures, share_for_programs)
{
	static const struct {
		const char *path;
		uint64_t number;
	} rows[] = {
		{ "scanner.cpu_percent", 2 },
		{ "scanner.rate_hundredths", 199 },
		{ "scanner.passes", 111 },
		{ "scanner.ticks", 110 },
		{ "scanner.pass_ticks", 2345678000 },
		{ "scanner.pass_us", 2345678 },
		{ "scanner.looked", 105 },
		{ "scanner.skipped_state", 114 },
		{ "scanner.skipped_written", 113 },
		{ "scanner.left_alone", 106 },
		{ "scanner.hashed_whole", 109 },
		{ "working_set.bytes", 5 * 4096 },
		{ "working_set.entries", 102 },
		{ "working_set.candidates", 103 },
		{ "working_set.shared_pages", 104 },
		{ "working_set.evicted", 107 },
		{ "results.merged", 115 },
		{ "results.zeroed", 116 },
		{ "results.broken", 108 },
		{ "results.rejected.changed", 117 },
		{ "results.rejected.different", 118 },
		{ "results.rejected.written", 119 },
		{ "results.rejected.no_memory", 120 },
		{ "pages_shared", 1 },
		{ "shared_references", EQUAL_COUNT - 1 },
		{ "pages_saved", EQUAL_COUNT - 2 },
	};
	scan_set_up();
	const char *text = object("share --json");
	assert_string_equal(json_keys_at(text, ""),
			    "scanner,working_set,results,pages_shared,shared_references,"
			    "pages_saved,vms");
	assert_string_equal(json_keys_at(text, "scanner"),
			    "state,cpu_percent,rate_hundredths,passes,ticks,pass_ticks,pass_us,"
			    "looked,skipped_state,skipped_written,left_alone,hashed_whole");
	assert_string_equal(json_keys_at(text, "working_set"),
			    "bytes,entries,candidates,shared_pages,evicted");
	assert_string_equal(json_keys_at(text, "results"), "merged,zeroed,broken,rejected");
	assert_string_equal(json_keys_at(text, "results.rejected"),
			    "changed,different,written,no_memory");
	assert_string_equal(json_keys_at(text, "vms[0]"), "name,group,private,shared,zero,broken");
	assert_string_equal(json_text_at(text, "scanner.state"), "on");
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
		expect_number(text, rows[i].path, rows[i].number);
	assert_string_equal(json_text_at(text, "vms[0].group"), "lab");
	/* A group that is none has no name. */
	assert_string_equal(json_text_at(text, "vms[1].group"), "");
	expect_number(text, "vms[0].private", one.private_pages);
	expect_number(text, "vms[0].shared", one.shared);
	expect_number(text, "vms[0].zero", one.zero);
	expect_number(text, "vms[0].broken", 1);
	EXPECT(json_count_at(text, "vms") == 2);
	operator_at_prompt();
	EXPECT(json_count_at(object("share --json"), "vms") == 0);
}

/* Figures of a machine that has run for years do not fit less than their line. */
TEST(operator_figures, no_line_of_share_is_cut)
{
	scan_set_up();
	memset(&scan_stats, 0xff, sizeof(scan_stats));
	scan_stats.rate_hundredths = 10000;
	scan_cpu_percent = 100;
	const char *text = answer("share");
	EXPECT(strstr(text, ", left alone 18446744073709551615\n"));
	EXPECT(strstr(text, ", evicted 18446744073709551615\n"));
	EXPECT(strstr(text, ", broken again 18446744073709551615\n"));
	EXPECT(strstr(text, ", no_memory 18446744073709551615\n"));
	EXPECT(json_is_valid(object("share --json")));
}
