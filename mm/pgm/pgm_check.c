/* SPDX-License-Identifier: MIT */
/*
 * Double entry: asserts the invariants of pgm.c's design page, and that PGM's records
 * agree with GMM's books. Changes nothing. Takes time in proportion to the VM's RAM.
 */
#include "mm/pgm/pgm.h"

#include <quire/assert.h>

#include "pgm_internal.h"

/* The figures of a recount. */
struct recount {
	uint64_t zero, private_pages, monitored, shared, ballooned;
	uint64_t rom, rom_private, rom_shadow, unreported;
	uint64_t marked;  /* records with PGM_RECORD_AHEAD */
	uint64_t records; /* of memory in the map, of any type */
};

/* --- the map ----------------------------------------------------------------------------- */

static void regions_check(const struct pgm *pgm) Q_REQUIRES(pgm->lock)
{
	uint64_t previous_end = 0;

	Q_ASSERT(pgm->region_count <= PGM_REGION_MAX);
	for (unsigned i = 0; i < pgm->region_count; i++) {
		const struct pgm_region *region = &pgm->regions[i];
		Q_ASSERT(region->start.raw >= previous_end); /* P1 */
		Q_ASSERT(region->end.raw > region->start.raw);
		previous_end = region->end.raw;
	}
	Q_ASSERT(previous_end <= PGM_GFN_END);
}

static bool record_is_zero(const struct pgm_record *record)
{
	return (record->q0 | record->d2 | record->d3) == 0;
}

static uint64_t page_records_count(const struct pgm_record *page)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < PGM_RECORDS; i++)
		count += !record_is_zero(&page[i]);
	return count;
}

/* Counts the records that are not zero, in or out of regions; asserts P9 for record pages. */
static uint64_t records_count(const struct pgm *pgm) Q_REQUIRES(pgm->lock)
{
	uint64_t count = 0, pages = 0;

	for (unsigned i = 0; i < PGM_DIRECTORY_COUNT; i++) {
		const struct pgm_directory *directory = pgm->directories[i];
		if (!directory)
			continue;
		pages++;
		for (unsigned j = 0; j < PGM_DIRECTORY_SIZE; j++) {
			if (!directory->pages[j])
				continue;
			pages++;
			count += page_records_count(directory->pages[j]);
		}
	}
	Q_ASSERT(pages == pgm->record_pages);
	return count;
}

/* --- one record ---------------------------------------------------------------------------- */

/* P4 */
static void private_page_check(const struct pgm *pgm, gfn_t gfn, struct pgm_record record,
			       struct recount *recount)
{
	struct gmm_page_info info;
	page_id_t id = pgm_record_id(record);

	q_status_t status = gmm_page_info(id, &info);
	Q_ASSERT(status == Q_OK);
	Q_ASSERT(info.kind == GMM_PAGE_PRIVATE && info.owner == pgm->vm);
	Q_ASSERT(gmm_page_frame(id).raw == pgm_record_frame(record).raw);
	if (info.gfn.raw == GFN_UNKNOWN.raw)
		recount->unreported++;
	else
		Q_ASSERT(info.gfn.raw == gfn.raw);
}

/* P3 */
static void zero_page_check(const struct pgm *pgm, struct pgm_record record)
{
	Q_ASSERT(pgm_record_frame(record).raw == pgm->zero_frame.raw);
	Q_ASSERT(page_id_is_nil(pgm_record_id(record)));
}

/* P10 */
static void shared_page_check(struct pgm_record record)
{
	struct gmm_page_info info;
	page_id_t id = pgm_record_id(record);

	q_status_t status = gmm_page_info(id, &info);
	Q_ASSERT(status == Q_OK);
	Q_ASSERT(info.kind == GMM_PAGE_SHARED && info.references > 0);
	Q_ASSERT(gmm_page_frame(id).raw == pgm_record_frame(record).raw);
}

static void ram_record_check(const struct pgm *pgm, gfn_t gfn, struct pgm_record record,
			     struct recount *recount)
{
	enum pgm_state state = pgm_record_state(record);

	Q_ASSERT(pgm_record_type(record) == PGM_TYPE_RAM); /* P1 */
	Q_ASSERT(pgm_record_is_read_only(record) ==
		 (state != PGM_STATE_NORMAL ||
		  pgm_record_handler(record) != PGM_HANDLER_NONE)); /* P7 */
	switch (state) {
	case PGM_STATE_ZERO:
	case PGM_STATE_BALLOONED: zero_page_check(pgm, record); break;
	case PGM_STATE_NORMAL:
	case PGM_STATE_MONITORED: private_page_check(pgm, gfn, record, recount); break;
	case PGM_STATE_SHARED: shared_page_check(record); break;
	}
	recount->zero += state == PGM_STATE_ZERO;
	recount->ballooned += state == PGM_STATE_BALLOONED;
	recount->private_pages += state == PGM_STATE_NORMAL || state == PGM_STATE_MONITORED;
	recount->monitored += state == PGM_STATE_MONITORED;
	recount->shared += state == PGM_STATE_SHARED;
	recount->marked += (record.d2 & PGM_RECORD_AHEAD) != 0;
}

static void rom_record_check(const struct pgm *pgm, gfn_t gfn, struct pgm_record record,
			     struct recount *recount)
{
	uint64_t unreported = recount->unreported;

	Q_ASSERT(pgm_record_type(record) == PGM_TYPE_ROM);
	Q_ASSERT(pgm_record_is_read_only(record));
	recount->rom++;
	if (pgm_record_state(record) == PGM_STATE_ZERO) {
		zero_page_check(pgm, record);
		return;
	}
	Q_ASSERT(pgm_record_state(record) == PGM_STATE_NORMAL);
	private_page_check(pgm, gfn, record, recount);
	Q_ASSERT(recount->unreported == unreported);
	recount->rom_private++;
}

/* R1, for one half of a page of shadowed ROM. True if it is not the zero page. */
static bool rom_half_check(const struct pgm *pgm, gfn_t gfn, struct pgm_record record,
			   struct recount *recount)
{
	Q_ASSERT(pgm_record_type(record) == PGM_TYPE_ROM_SHADOWED);
	if (pgm_record_state(record) == PGM_STATE_ZERO) {
		zero_page_check(pgm, record);
		return false;
	}
	Q_ASSERT(pgm_record_state(record) == PGM_STATE_NORMAL);
	private_page_check(pgm, gfn, record, recount);
	return true;
}

static void rom_shadowed_check(const struct pgm *pgm, gfn_t gfn, struct pgm_record record,
			       struct recount *recount) Q_REQUIRES(pgm->lock)
{
	struct pgm_record hidden = *pgm_rom_hidden(pgm, gfn);
	enum pgm_rom_mode mode = pgm_record_rom_mode(record);
	bool is_shadow = mode == PGM_ROM_READ_RAM || mode == PGM_ROM_READ_RAM_WRITE_RAM;
	uint64_t read_private = rom_half_check(pgm, gfn, record, recount);
	uint64_t hidden_private = rom_half_check(pgm, gfn, hidden, recount);

	recount->rom_private += is_shadow ? hidden_private : read_private;
	recount->rom_shadow += is_shadow ? read_private : hidden_private;
	Q_ASSERT(pgm_record_handler(hidden) == PGM_HANDLER_NONE);
	Q_ASSERT(pgm_record_rom_mode(hidden) == PGM_ROM_READ_ROM);
	Q_ASSERT(pgm_record_is_read_only(hidden)); /* R2 */
	Q_ASSERT(pgm_record_is_read_only(record) || mode == PGM_ROM_READ_RAM_WRITE_RAM);
}

/* D1 */
static void device_record_check(struct pgm_record record, bool is_tracked)
{
	bool is_normal = pgm_record_state(record) == PGM_STATE_NORMAL;

	Q_ASSERT(pgm_record_type(record) == PGM_TYPE_DEVICE);
	Q_ASSERT(page_id_is_nil(pgm_record_id(record)));
	Q_ASSERT(gmm_memory_at(hfn_to_hpa(pgm_record_frame(record))) == GMM_MEMORY_KERNEL);
	Q_ASSERT(is_normal || (is_tracked && pgm_record_state(record) == PGM_STATE_MONITORED));
	Q_ASSERT(!(record.d2 & PGM_RECORD_WRITTEN_TO) || (is_normal && is_tracked));
	Q_ASSERT(pgm_record_is_read_only(record) ==
		 (!is_normal || pgm_record_handler(record) != PGM_HANDLER_NONE)); /* P7 */
}

/* D2 */
static void device_place_check(const struct pgm *pgm, const struct pgm_device *device)
	Q_REQUIRES(pgm->lock)
{
	const struct pgm_region *region = pgm_region_find(pgm, device->start);
	uint64_t count = device->shelf->page_count;

	Q_ASSERT(region && region->kind == PGM_REGION_DEVICE);
	Q_ASSERT(region->start.raw == device->start.raw);
	Q_ASSERT(region->end.raw == device->start.raw + count);
	for (uint64_t i = 0; i < count; i++)
		Q_ASSERT(record_is_zero(pgm_shelf_record(device->shelf, i)));
}

static void devices_check(const struct pgm *pgm) Q_REQUIRES(pgm->lock)
{
	uint64_t pages = 0, regions = 0, mapped = 0;

	for (unsigned i = 0; i < pgm->device_count; i++) {
		const struct pgm_device *device = &pgm->devices[i];
		for (uint64_t j = 0; j < device->shelf->page_count; j++)
			device_record_check(*pgm_device_record(pgm, device, j), device->is_tracked);
		if (device->is_mapped)
			device_place_check(pgm, device);
		mapped += device->is_mapped;
		pages += device->shelf->page_count;
	}
	for (unsigned i = 0; i < pgm->region_count; i++)
		regions += pgm->regions[i].kind == PGM_REGION_DEVICE;
	Q_ASSERT(regions == mapped && pages == pgm->device_pages);
}

static void region_records_check(const struct pgm *pgm, const struct pgm_region *region,
				 struct recount *recount) Q_REQUIRES(pgm->lock)
{
	for (gfn_t gfn = region->start; gfn.raw < region->end.raw; gfn.raw++) {
		const struct pgm_record *record = pgm_record_find(pgm, gfn);
		if (region->kind == PGM_REGION_MMIO)
			return;
		pgm_handler_record_check(pgm, gfn, *record);
		recount->records++;
		switch (region->kind) {
		case PGM_REGION_RAM: ram_record_check(pgm, gfn, *record, recount); break;
		case PGM_REGION_ROM: rom_record_check(pgm, gfn, *record, recount); break;
		case PGM_REGION_ROM_SHADOWED: rom_shadowed_check(pgm, gfn, *record, recount); break;
		case PGM_REGION_DEVICE:
			Q_ASSERT(pgm_record_type(*record) == PGM_TYPE_DEVICE); /* P1, D2 */
			break;
		case PGM_REGION_MMIO: break;
		}
	}
}

/* --- the stock -------------------------------------------------------------------------------- */

/* Asserts that the page is this VM's and that GMM knows no guest frame for it. */
static void unreported_page_check(const struct pgm *pgm, page_id_t id)
{
	struct gmm_page_info info;

	q_status_t status = gmm_page_info(id, &info);
	Q_ASSERT(status == Q_OK);
	Q_ASSERT(info.kind == GMM_PAGE_PRIVATE && info.owner == pgm->vm);
	Q_ASSERT(info.gfn.raw == GFN_UNKNOWN.raw);
}

/* P5, for the page that the next fault takes. In time that is each page of the stock. */
static void next_page_check(const struct gmm_page *page)
{
	Q_ASSERT(gmm_page_frame(page->id).raw == page->frame.raw);
	Q_ASSERT(gmm_page_is_zero(page->id));
}

/* Asserts that the reported frame has the page: in its record, or in shadowed ROM's hidden one. */
static void report_check(const struct pgm *pgm, const struct pgm_report *report)
	Q_REQUIRES(pgm->lock)
{
	const struct pgm_record *record = pgm_record_find(pgm, gfn(report->gfn));

	Q_ASSERT(record);
	if (pgm_record_id(*record).raw == report->id.raw)
		return;
	record = pgm_rom_hidden(pgm, gfn(report->gfn));
	Q_ASSERT(pgm_record_id(*record).raw == report->id.raw);
}

static void handy_check(const struct pgm *pgm) Q_REQUIRES(pgm->lock)
{
	const struct pgm_handy *handy = pgm->handy;

	Q_ASSERT(pgm->handy_count + pgm->report_count <= PGM_HANDY_MAX); /* H1 */
	for (unsigned i = 0; i < pgm->handy_count; i++)
		unreported_page_check(pgm, handy->fresh[i].id); /* P5 */
	if (pgm->handy_count > 0)
		next_page_check(&handy->fresh[pgm->handy_count - 1]);
	for (unsigned i = 0; i < pgm->report_count; i++) {
		const struct pgm_report *report = &handy->reports[i];
		unreported_page_check(pgm, report->id); /* P4 */
		report_check(pgm, report);
	}
	unreported_page_check(pgm, pgm->zero_id);
	Q_ASSERT(gmm_page_frame(pgm->zero_id).raw == pgm->zero_frame.raw);
	Q_ASSERT(gmm_page_is_zero(pgm->zero_id)); /* P6 */
}

/* --- tables and accounts ----------------------------------------------------------------------- */

/* P8, for page `index` of those that the leaf maps. */
static void leaf_page_check(const struct pgm *pgm, const struct slat_leaf *leaf, uint64_t index)
	Q_REQUIRES(pgm->lock)
{
	const struct pgm_record *record = pgm_record_find_memory(pgm, gfn(leaf->gfn.raw + index));

	Q_ASSERT(record && pgm_record_is_mappable(*record)); /* K3 */
	Q_ASSERT(leaf->entry.frame.raw + index == pgm_record_frame(*record).raw);
	Q_ASSERT(!(leaf->entry.permission & SLAT_WRITE) || !pgm_record_is_read_only(*record));
}

static void tables_check(const struct pgm *pgm) Q_REQUIRES(pgm->lock)
{
	gfn_t end = gfn(PGM_GFN_END);
	struct slat_leaf leaf = { .end = gfn(0) };
	uint64_t large = 0;

	while (slat_leaf_next(&pgm->slat, leaf.end, end, &leaf)) {
		uint64_t count = leaf.end.raw - leaf.gfn.raw;
		Q_ASSERT(count == 1 || count == PAGES_PER_LARGE);
		Q_ASSERT(leaf.entry.permission & SLAT_READ);
		for (uint64_t i = 0; i < count; i++)
			leaf_page_check(pgm, &leaf, i);
		large += count > 1;
	}
	Q_ASSERT(large == pgm->slat.large_pages);
}

static bool is_listed_before(const struct pgm_ahead *ahead, unsigned i)
{
	for (unsigned j = 0; j < i; j++)
		if (ahead->gfns[j] == ahead->gfns[i])
			return true;
	return false;
}

/* P12, for one marked page. True if it is unused. */
static bool marked_page_check(const struct pgm *pgm, gfn_t gfn, struct pgm_record record)
	Q_REQUIRES(pgm->lock)
{
	struct slat_entry entry;
	unsigned level;

	Q_ASSERT(pgm_record_is_plain_ram(record));
	Q_ASSERT(pgm_record_state(record) == PGM_STATE_NORMAL);
	bool is_mapped = slat_lookup(&pgm->slat, gfn, &entry, &level);
	Q_ASSERT(is_mapped && level == 1);
	Q_ASSERT(entry.dirty || gmm_page_is_zero(pgm_record_id(record)));
	return !entry.dirty;
}

/* A1, A2, P12. `marked` is the recount. */
static void ahead_check(const struct pgm *pgm, uint64_t marked) Q_REQUIRES(pgm->lock)
{
	const struct pgm_ahead *ahead = &pgm->ahead;
	uint64_t unused = 0;

	Q_ASSERT(ahead->count <= PGM_AHEAD_MAX && ahead->old_count <= ahead->count);
	for (unsigned i = 0; i < ahead->count; i++) {
		gfn_t at = gfn(ahead->gfns[i]);
		const struct pgm_record *record = pgm_record_find(pgm, at);
		if (!(record->d2 & PGM_RECORD_AHEAD) || is_listed_before(ahead, i))
			continue;
		marked--;
		unused += marked_page_check(pgm, at, *record);
	}
	Q_ASSERT(marked == 0);                                /* A1 */
	Q_ASSERT(pgm->handy_count + unused <= PGM_HANDY_MAX); /* A2 */
}

/* Counts the reports that drop a reference to a shared page. */
static uint64_t drops_count(const struct pgm *pgm) Q_REQUIRES(pgm->lock)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < pgm->report_count; i++)
		count += !page_id_is_nil(pgm->handy->reports[i].shared);
	return count;
}

/* P9, P10 */
static void accounts_check(const struct pgm *pgm, const struct recount *recount)
	Q_REQUIRES(pgm->lock)
{
	struct gmm_vm_stats stats;

	gmm_vm_stats(pgm->vm, &stats);
	uint64_t references = recount->shared + drops_count(pgm);
	Q_ASSERT(stats.allocated[GMM_BASE] == recount->private_pages + references +
						      recount->rom_private + recount->rom_shadow +
						      pgm->handy_count + 1);
	Q_ASSERT(stats.shared_pages == references);
	Q_ASSERT(stats.ballooned_pages == recount->ballooned);
	Q_ASSERT(stats.allocated[GMM_SHADOW] == pgm->slat.table_pages);
	Q_ASSERT(pgm->slat.table_pages + pgm->slat.large_pages <=
		 stats.promised[GMM_SHADOW]); /* P11 */
	Q_ASSERT(stats.allocated[GMM_FIXED] ==
		 pgm->record_pages + pgm->shelf_pages + pgm->device_pages + PGM_FIXED_PAGES);
	Q_ASSERT(pgm->rom_pages <= PGM_ROM_PAGES);
}

static void pgm_check_locked(const struct pgm *pgm) Q_REQUIRES(pgm->lock)
{
	struct recount recount = { 0 };

	regions_check(pgm);
	pgm_handlers_check(pgm);
	devices_check(pgm);
	for (unsigned i = 0; i < pgm->region_count; i++)
		region_records_check(pgm, &pgm->regions[i], &recount);
	/* P2 */
	Q_ASSERT(recount.zero + recount.private_pages + recount.shared + recount.ballooned ==
		 pgm->ram_pages);
	Q_ASSERT(recount.private_pages == pgm->private_pages);
	Q_ASSERT(recount.monitored == pgm->monitored_pages);
	Q_ASSERT(recount.shared == pgm->shared_pages);
	Q_ASSERT(recount.ballooned == pgm->ballooned_pages);
	Q_ASSERT(recount.rom == pgm->rom_pages);
	Q_ASSERT(recount.rom_private == pgm->rom_private_pages);
	Q_ASSERT(recount.rom_shadow == pgm->rom_shadow_pages);
	/* P1: no records outside regions */
	Q_ASSERT(records_count(pgm) == recount.records);
	/* P4. One page in two records, both unreported, would show in the accounts. */
	Q_ASSERT(recount.unreported == pgm->report_count);
	handy_check(pgm);
	ahead_check(pgm, recount.marked);
	tables_check(pgm);
	accounts_check(pgm, &recount);
}

void pgm_check(struct pgm *pgm) Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	pgm_check_locked(pgm);
	spin_unlock(&pgm->lock);
}
