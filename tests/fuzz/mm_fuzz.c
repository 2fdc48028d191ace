/* SPDX-License-Identifier: MIT */
/*
 * Model-based fuzzer for GMM and PGM together.
 *
 * A few small VMs run on a small machine. Guests read, write and execute memory,
 * through vCPUs that cache every translation as long as the contract allows, and
 * the hypervisor reads and writes for them. VMs get ROM with and without a shadow,
 * handlers, and device memory that moves; they are reset, restored, destroyed and
 * made again. Their pages are monitored, merged with equal ones, replaced by the zero
 * page, moved, and put into the balloon. Runs of writes are given pages ahead, and
 * unused ones are taken back. A hog takes the memory that is left, and returns it
 * dirty. A merge takes many steps, and anything may happen between two of them.
 *
 * The model knows for each guest page its state and its tag: the one word of it that
 * may be other than zero. Every so many operations all books are audited: gmm_check(),
 * pgm_check() of each VM, and each page against the model.
 *
 *     mm_fuzz [operations] [seed] [operations between audits] [bits of the key]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <quire/compiler.h>

#include "mm/gmm/gmm.h"
#include "mm/pgm/pgm.h"
#include "mm/pgm/pgm_device.h"
#include "mm/pgm/pgm_handler.h"
#include "mm/pgm/pgm_rom_shadow.h"
#include "mm/pgm/pgm_internal.h"
#include "mm/share/share.h"

#include "nested_walk.h"
#include "seam/seam.h"

#define MACHINE_BYTES (24ull << 20)
#define VM_COUNT      3u
#define VCPU_COUNT    2u
#define FRAME_COUNT   1024u /* RAM of a VM is below 4 MiB */
#define HOG_PAGES_MAX (MACHINE_BYTES / PAGE_SIZE)

#define DEVICE_PAGES 16u
#define LOW_END      160u /* guest frames: 640 KiB */
#define HIGH_START   256u /* 1 MiB */

/*
 * A translation is good as long as the vCPU's generation is that of the tables. A CPU
 * that cached it as dirty does not set the dirty bit again.
 */
struct tlb_entry {
	uint64_t generation;
	bool is_dirty;
	struct nested_result translation;
};

struct vcpu {
	uint64_t generation; /* at its last entry */
	struct tlb_entry tlb[FRAME_COUNT];
};

struct vm {
	struct pgm *pgm; /* NULL: there is no such VM now */
	const struct slat_format *format;
	enum gmm_overcommit overcommit;
	uint64_t frame_end; /* of RAM */
	uint64_t rom_start, rom_end;
	bool is_rom_shadowed;
	unsigned handy; /* pages in the stock, or handed out ahead and not used */
	unsigned private_pages, rom_shadow_pages;
	unsigned shared_pages, ballooned_pages;
	uint64_t tags[FRAME_COUNT];         /* of RAM or ROM's shadow; 0: the page is all zero */
	uint64_t rom_tags[FRAME_COUNT];     /* of ROM */
	uint8_t rom_modes[FRAME_COUNT];     /* enum pgm_rom_mode */
	enum pgm_state states[FRAME_COUNT]; /* of RAM or ROM's shadow */
	uint8_t handlers[FRAME_COUNT];      /* enum pgm_handler_kind */
	struct pgm_device *device;
	uint64_t device_start; /* 0: it is mapped nowhere */
	bool is_device_tracked;
	uint64_t device_tags[DEVICE_PAGES];
	bool is_device_dirty[DEVICE_PAGES];
	struct vcpu vcpus[VCPU_COUNT];
};

/* A merge of two pages in progress. */
struct merge {
	struct {
		struct vm *vm;
		uint64_t frame;
		page_id_t id;
	} sides[2];
	unsigned step;     /* enum merge_step; 0: no merge */
	page_id_t shared;  /* from MERGE_COPY on, or from the start if it is joined; else NIL */
	uint64_t tag;      /* of the shared page */
	bool is_proposed;  /* by the working set, in `match` */
	bool is_exchanged; /* a side has `shared` now */
	struct share_match match;
};

#define MERGE_COUNT 4u

static struct vm vms[VM_COUNT];
static struct merge merges[MERGE_COUNT];
static gmm_vm_t hog;
static page_id_t hog_pages[HOG_PAGES_MAX];
static unsigned hog_count;

static void merge_end(struct merge *merge);

static uint64_t seed, operation, audits, merged, proposed, blocks_backed, ahead_used;
static uint64_t random_state;

/* --- helpers ------------------------------------------------------------------------ */

static void on_abort(int signal_number)
{
	char line[128];
	int length =
		snprintf(line, sizeof(line), "mm_fuzz: signal %d in operation %llu, seed %llu\n",
			 signal_number, (unsigned long long)operation, (unsigned long long)seed);
	if (write(STDERR_FILENO, line, (size_t)length) != length)
		_exit(2);
}

#define CHECK(condition)                                                                        \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                \
		}                                                                               \
	} while (0)

/* splitmix64: good enough, and any seed will do. */
static uint64_t random_next(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static uint64_t below(uint64_t limit)
{
	return random_next() % limit;
}

/* At the same place in every page, so that pages with the same tag are equal. */
#define TAG_OFFSET 0x928u

static uint64_t tag_address(uint64_t frame)
{
	return (frame << PAGE_SHIFT) + TAG_OFFSET;
}

/* One of few values, and zero often, so that pages are equal by chance. */
static uint64_t tag_random(void)
{
	return below(4) ? 1 + below(6) : 0;
}

/* --- the model ------------------------------------------------------------------------ */

static bool is_ram(const struct vm *vm, uint64_t frame)
{
	return frame < vm->frame_end && (frame < LOW_END || frame >= HIGH_START);
}

static bool is_rom(const struct vm *vm, uint64_t frame)
{
	return frame >= vm->rom_start && frame < vm->rom_end;
}

static bool is_device(const struct vm *vm, uint64_t frame)
{
	return vm->device_start && frame >= vm->device_start &&
	       frame < vm->device_start + DEVICE_PAGES;
}

static bool is_memory(const struct vm *vm, uint64_t frame)
{
	return is_ram(vm, frame) || is_rom(vm, frame) || is_device(vm, frame);
}

static bool is_private(const struct vm *vm, uint64_t frame)
{
	return vm->states[frame] == PGM_STATE_NORMAL || vm->states[frame] == PGM_STATE_MONITORED;
}

/* Handed out ahead, as the record says, but not written, as the model says. */
static bool is_ahead(const struct vm *vm, uint64_t frame)
{
	return is_ram(vm, frame) && vm->states[frame] == PGM_STATE_ZERO &&
	       (pgm_record_find(vm->pgm, gfn(frame))->d2 & PGM_RECORD_AHEAD);
}

static unsigned ahead_count(const struct vm *vm)
{
	unsigned count = 0;

	for (uint64_t frame = 0; frame < vm->frame_end; frame++)
		count += is_ahead(vm, frame);
	return count;
}

/* The state that PGM's record must have. */
static enum pgm_state state_of(const struct vm *vm, uint64_t frame)
{
	return is_ahead(vm, frame) ? PGM_STATE_NORMAL : vm->states[frame];
}

/* A page that was handed out ahead counts as used from now on: it is the VM's own. */
static void model_use(struct vm *vm, uint64_t frame)
{
	CHECK(vm->handy > 0 && vm->states[frame] == PGM_STATE_ZERO);
	vm->handy--;
	vm->private_pages++;
	vm->states[frame] = PGM_STATE_NORMAL;
}

static bool needs_stock(const struct vm *vm, uint64_t frame)
{
	return !is_private(vm, frame);
}

static bool takes_writes(const struct vm *vm, uint64_t frame)
{
	return is_ram(vm, frame) || is_device(vm, frame) ||
	       (is_rom(vm, frame) && (vm->rom_modes[frame] == PGM_ROM_READ_ROM_WRITE_RAM ||
				      vm->rom_modes[frame] == PGM_ROM_READ_RAM_WRITE_RAM));
}

/* True if reads reach ROM, and not RAM or ROM's shadow. */
static bool reads_rom(const struct vm *vm, uint64_t frame)
{
	return is_rom(vm, frame) && vm->rom_modes[frame] != PGM_ROM_READ_RAM &&
	       vm->rom_modes[frame] != PGM_ROM_READ_RAM_WRITE_RAM;
}

static uint64_t tag_read(const struct vm *vm, uint64_t frame)
{
	if (is_device(vm, frame))
		return vm->device_tags[frame - vm->device_start];
	return reads_rom(vm, frame) ? vm->rom_tags[frame] : vm->tags[frame];
}

static void tag_write(struct vm *vm, uint64_t frame, uint64_t tag)
{
	if (is_device(vm, frame))
		vm->device_tags[frame - vm->device_start] = tag;
	else
		vm->tags[frame] = tag;
}

/* True if a write takes a page from the stock. */
static bool needs_page(const struct vm *vm, uint64_t frame)
{
	return takes_writes(vm, frame) && !is_device(vm, frame) && needs_stock(vm, frame);
}

/* True if a handler wants this access. */
static bool is_handled(const struct vm *vm, uint64_t frame, enum mem_access access)
{
	if (frame >= FRAME_COUNT || vm->handlers[frame] == PGM_HANDLER_NONE)
		return false;
	return vm->handlers[frame] == PGM_HANDLER_ALL || access == MEM_WRITE;
}

/*
 * The first page of the block around an untouched `frame` if PGM just backed the whole
 * block with a chunk, or FRAME_COUNT. The model cannot tell whether GMM had a chunk.
 */
static uint64_t block_backed(const struct vm *vm, uint64_t frame)
{
	uint64_t start = frame - frame % PAGES_PER_LARGE;

	for (uint64_t at = start; at < start + PAGES_PER_LARGE; at++) {
		if (!is_ram(vm, at) || vm->states[at] != PGM_STATE_ZERO ||
		    vm->handlers[at] != PGM_HANDLER_NONE)
			return FRAME_COUNT;
		/* No operation of the model writes that many pages one by one. */
		if (pgm_record_state(*pgm_record_find(vm->pgm, gfn(at))) == PGM_STATE_ZERO)
			return FRAME_COUNT;
	}
	CHECK(GMM_CHUNK_SHIFT == LARGE_PAGE_SHIFT && vm->overcommit == GMM_OVERCOMMIT_NONE);
	return start;
}

/* Must be called after the fault, but before the model follows it. */
static enum pgm_outcome expected_outcome(const struct vm *vm, uint64_t frame,
					 enum mem_access access)
{
	if (!is_memory(vm, frame))
		return PGM_MMIO;
	bool is_write = access == MEM_WRITE, is_taken = takes_writes(vm, frame);
	if (is_write && needs_page(vm, frame) && vm->handy == 0 &&
	    block_backed(vm, frame) == FRAME_COUNT)
		return PGM_NO_MEMORY;
	if (is_handled(vm, frame, access))
		return PGM_HANDLER;
	if (is_write && !is_taken)
		return PGM_DENIED;
	return is_write && reads_rom(vm, frame) ? PGM_EMULATE : PGM_RESOLVED;
}

/* Follows a write: the page is the VM's own now, or the write is noted. */
static void model_back(struct vm *vm, uint64_t frame)
{
	if (is_device(vm, frame))
		vm->is_device_dirty[frame - vm->device_start] = vm->is_device_tracked;
	uint64_t block = needs_page(vm, frame) ? block_backed(vm, frame) : FRAME_COUNT;
	if (block != FRAME_COUNT) {
		for (uint64_t i = 0; i < PAGES_PER_LARGE; i++)
			vm->states[block + i] = PGM_STATE_NORMAL;
		vm->private_pages += PAGES_PER_LARGE;
		blocks_backed++;
		return;
	}
	if (needs_page(vm, frame)) {
		CHECK(vm->handy > 0);
		vm->handy--;
		*(is_ram(vm, frame) ? &vm->private_pages : &vm->rom_shadow_pages) += 1;
		vm->shared_pages -= vm->states[frame] == PGM_STATE_SHARED;
		vm->ballooned_pages -= vm->states[frame] == PGM_STATE_BALLOONED;
	}
	if (takes_writes(vm, frame) && !is_device(vm, frame))
		vm->states[frame] = PGM_STATE_NORMAL;
}

/* Follows a page that went back to GMM; `state` is its new state. */
static void model_release(struct vm *vm, uint64_t frame, enum pgm_state state)
{
	vm->private_pages -= is_private(vm, frame);
	vm->shared_pages -= vm->states[frame] == PGM_STATE_SHARED;
	vm->ballooned_pages -= vm->states[frame] == PGM_STATE_BALLOONED;
	vm->ballooned_pages += state == PGM_STATE_BALLOONED;
	vm->states[frame] = state;
	vm->tags[frame] = 0;
}

/* How many pages a refill can get, asked ahead of it. Sends the reports first, as it would. */
static unsigned model_refill(const struct vm *vm)
{
	spin_lock(&vm->pgm->lock);
	pgm_handy_report(vm->pgm);
	spin_unlock(&vm->pgm->lock);
	return (unsigned)gmm_pages_available(pgm_vm(vm->pgm), PGM_HANDY_MAX);
}

/* --- audit ------------------------------------------------------------------------------ */

static void audit_vm(const struct vm *vm)
{
	struct pgm_stats stats;

	pgm_check(vm->pgm);
	pgm_stats(vm->pgm, &stats);
	unsigned ahead = ahead_count(vm);
	CHECK(stats.private_pages == vm->private_pages + ahead);
	CHECK(stats.handy + ahead == vm->handy && ahead <= stats.ahead);
	CHECK(stats.shared == vm->shared_pages && stats.ballooned == vm->ballooned_pages);
	CHECK(stats.zero + stats.private_pages + stats.shared + stats.ballooned == stats.pages);
	CHECK(stats.rom == vm->rom_end - vm->rom_start);
	CHECK(stats.rom_shadow == vm->rom_shadow_pages);
	for (uint64_t frame = 0; frame < FRAME_COUNT; frame++) {
		if (!is_memory(vm, frame))
			continue;
		struct pgm_record record = *pgm_record_find(vm->pgm, gfn(frame));
		if (is_device(vm, frame))
			continue;
		if (!reads_rom(vm, frame))
			CHECK(pgm_record_state(record) == state_of(vm, frame));
		if (page_id_is_nil(pgm_record_id(record))) {
			/* pgm_check() saw that the zero page is all zero. */
			CHECK(tag_read(vm, frame) == 0);
			continue;
		}
		hpa_t page = hfn_to_hpa(pgm_record_frame(record));
		uint64_t *tag = fake_ram_peek(hpa_add(page, TAG_OFFSET));
		CHECK(*tag == tag_read(vm, frame));
	}
}

/* GMM's count of references to shared pages is the sum of those of all VMs. */
static void audit_shared(void)
{
	struct gmm_stats stats;
	uint64_t references = 0;

	gmm_stats(&stats);
	for (unsigned i = 0; i < VM_COUNT; i++) {
		struct gmm_vm_stats vm;
		if (!vms[i].pgm)
			continue;
		gmm_vm_stats(pgm_vm(vms[i].pgm), &vm);
		references += vm.shared_pages;
	}
	CHECK(stats.shared_references == references);
}

static void audit(void)
{
	audit_shared();
	share_check();
	for (unsigned i = 0; i < VM_COUNT; i++)
		if (vms[i].pgm)
			audit_vm(&vms[i]);
	gmm_check();
	audits++;
}

/* Compares all of one page, as the hypervisor reads it, with the model. */
static void audit_page(const struct vm *vm, uint64_t frame)
{
	static uint8_t page[PAGE_SIZE], expected[PAGE_SIZE];
	uint64_t tag = tag_read(vm, frame);

	memset(expected, 0, sizeof(expected));
	memcpy(expected + TAG_OFFSET, &tag, sizeof(tag));
	CHECK(pgm_handler_read(vm->pgm, gpa(frame << PAGE_SHIFT), page, sizeof(page), NULL) ==
	      Q_OK);
	CHECK(memcmp(page, expected, sizeof(page)) == 0);
}

/* --- the guest's accesses ------------------------------------------------------------------ */

static struct nested_result translate(const struct vm *vm, uint64_t frame)
{
	uint64_t root = pgm_slat_root(vm->pgm).raw, addr = frame << PAGE_SHIFT;
	struct nested_result result =
		vm->format == &slat_npt ? nested_walk_npt(root, addr) : nested_walk_ept(root, addr);
	CHECK(!result.is_malformed);
	/* Only a VM with a right to all its memory gets whole chunks. */
	CHECK(!result.is_large || vm->overcommit == GMM_OVERCOMMIT_NONE);
	return result;
}

static bool allows(const struct nested_result *translation, enum mem_access access)
{
	if (!translation->is_present)
		return false;
	switch (access) {
	case MEM_READ: return translation->can_read;
	case MEM_WRITE: return translation->can_write;
	case MEM_EXEC: return translation->can_execute;
	}
	return false;
}

/* True if the vCPU has cached a translation for the access. It must still be right. */
static bool tlb_hit(const struct vm *vm, const struct vcpu *vcpu, uint64_t frame,
		    enum mem_access access)
{
	const struct tlb_entry *entry = &vcpu->tlb[frame];

	if (entry->generation != vcpu->generation || !allows(&entry->translation, access))
		return false;
	struct nested_result now = translate(vm, frame);
	CHECK(now.is_present && now.machine == entry->translation.machine);
	CHECK(now.can_write == entry->translation.can_write);
	return true;
}

/* The CPU notes a write. The first write to a page handed out ahead causes no fault. */
static void guest_dirty(struct vm *vm, uint64_t frame, struct tlb_entry *entry)
{
	if (is_ahead(vm, frame)) {
		model_use(vm, frame);
		ahead_used++;
	}
	if (!entry->is_dirty && vm->pgm->has_dirty_bits)
		nested_dirty_set(pgm_slat_root(vm->pgm).raw, frame << PAGE_SHIFT,
				 vm->format == &slat_ept);
	entry->is_dirty = true;
}

/* Enters the guest, which accesses one page. True: it reached the page at *out_machine. */
static bool guest_access(struct vm *vm, uint64_t frame, enum mem_access access,
			 uint64_t *out_machine)
{
	struct vcpu *vcpu = &vm->vcpus[below(VCPU_COUNT)];
	struct pgm_fault fault = { .addr = gpa(tag_address(frame)), .access = access };
	bool is_write = access == MEM_WRITE && takes_writes(vm, frame);

	for (;;) {
		vcpu->generation = pgm_slat_generation(vm->pgm);
		if (frame < FRAME_COUNT) {
			struct tlb_entry *entry = &vcpu->tlb[frame];
			if (!tlb_hit(vm, vcpu, frame, access))
				*entry = (struct tlb_entry){ .generation = vcpu->generation,
							     .translation = translate(vm, frame) };
			if (allows(&entry->translation, access)) {
				*out_machine = entry->translation.machine;
				if (access == MEM_WRITE)
					guest_dirty(vm, frame, entry);
				return true;
			}
		}
		enum pgm_outcome outcome = pgm_fault_handle(vm->pgm, &fault);
		enum pgm_outcome expected = expected_outcome(vm, frame, access);
		CHECK(outcome == expected);
		if (is_write && expected != PGM_NO_MEMORY)
			model_back(vm, frame);
		if (expected == PGM_HANDLER)
			CHECK(fault.handler_tag == vm->handlers[frame]);
		if (expected != PGM_RESOLVED)
			return false;
		CHECK(allows((struct nested_result[]){ translate(vm, frame) }, access));
	}
}

static void guest_read(struct vm *vm, uint64_t frame, enum mem_access access)
{
	uint64_t machine;

	if (!guest_access(vm, frame, access, &machine))
		return;
	uint64_t *tag = fake_ram_peek(hpa(machine + TAG_OFFSET));
	CHECK(*tag == tag_read(vm, frame));
}

static void guest_write(struct vm *vm, uint64_t frame)
{
	uint64_t machine;

	if (!guest_access(vm, frame, MEM_WRITE, &machine))
		return;
	CHECK(takes_writes(vm, frame) && !reads_rom(vm, frame));
	audit_page(vm, frame); /* above all, a new page must be all zero */
	uint64_t tag = tag_random();
	tag_write(vm, frame, tag);
	memcpy(fake_ram_peek(hpa(machine + TAG_OFFSET)), &tag, sizeof(tag));
}

/* --- the hypervisor's accesses --------------------------------------------------------------- */

static void host_read(struct vm *vm, uint64_t frame)
{
	uint64_t word = 0, done = 99;
	q_status_t status = pgm_read(vm->pgm, gpa(tag_address(frame)), &word, sizeof(word), &done);

	if (!is_memory(vm, frame)) {
		CHECK(status == Q_RANGE && done == 0);
		return;
	}
	if (is_handled(vm, frame, MEM_READ))
		CHECK(status == Q_HANDLER && done == 0);
	else
		CHECK(status == Q_OK && done == sizeof(word) && word == tag_read(vm, frame));
	audit_page(vm, frame);
}

/* The pages that a host write, which goes page by page, may use. */
struct supply {
	unsigned stock;     /* ready, not handed out ahead */
	unsigned available; /* what a refill can get */
	bool was_ahead[3];  /* each page, before the write */
};

/* Follows a host write to one page, which may refill the stock. Returns what PGM must return. */
static q_status_t model_host_write(struct vm *vm, uint64_t frame, struct supply *supply,
				   bool was_ahead, bool is_behind)
{
	if (!is_behind && is_memory(vm, frame) && is_handled(vm, frame, MEM_WRITE))
		return Q_HANDLER;
	if (!takes_writes(vm, frame))
		return Q_RANGE;
	if (needs_page(vm, frame)) {
		/* A page that was ahead and was taken back needs no refill: there was one just now. */
		if (!was_ahead && supply->stock <= PGM_HANDY_SYNC) {
			/* vm->handy already includes the pages that the refill takes back. */
			unsigned want = PGM_HANDY_MAX - vm->handy;
			vm->handy += supply->available < want ? supply->available : want;
			supply->available = 0;
			supply->stock = vm->handy;
		}
		if (vm->handy == 0)
			return Q_NO_MEMORY;
		supply->stock -= !was_ahead && supply->stock > 0;
	}
	model_back(vm, frame);
	return Q_OK;
}

/* Writes one to three pages in a row, from the first tag to the last, with zeros between. */
static void host_write(struct vm *vm, uint64_t frame)
{
	static uint8_t bytes[3 * PAGE_SIZE];
	uint64_t count = 1 + below(3), end_frame = frame + count;
	uint64_t start = tag_address(frame), end = tag_address(end_frame - 1) + sizeof(uint64_t);
	struct supply supply = { .stock = vm->handy - ahead_count(vm) };
	uint64_t tags[3], expected_done = 0, done = 0;
	q_status_t expected = Q_OK;
	bool is_behind = below(2);

	bool may_refill = supply.stock < PGM_HANDY_SYNC + 3;
	if (may_refill)
		supply.available = model_refill(vm);
	/* Not modelled: a refill between two pages may get the page that the first one shared. */
	for (uint64_t i = frame; i < end_frame && i < FRAME_COUNT; i++)
		if (vm->states[i] == PGM_STATE_SHARED && may_refill &&
		    supply.available < PGM_HANDY_MAX)
			return;
	for (uint64_t i = 0; i < count; i++)
		supply.was_ahead[i] = is_ahead(vm, frame + i);
	memset(bytes, 0, sizeof(bytes));
	for (uint64_t i = 0; i < count; i++) {
		tags[i] = tag_random();
		memcpy(bytes + (tag_address(frame + i) - start), &tags[i], sizeof(uint64_t));
	}
	q_status_t status =
		is_behind ? pgm_handler_write(vm->pgm, gpa(start), bytes, end - start, &done)
			  : pgm_write(vm->pgm, gpa(start), bytes, end - start, &done);
	for (uint64_t i = 0; i < count && expected == Q_OK; i++) {
		uint64_t page_end = (frame + i + 1) << PAGE_SHIFT;
		expected = model_host_write(vm, frame + i, &supply, supply.was_ahead[i], is_behind);
		if (expected != Q_OK)
			break;
		tag_write(vm, frame + i, tags[i]);
		expected_done = (page_end < end ? page_end : end) - start;
	}
	CHECK(status == expected && done == expected_done);
}

/* --- what others ask of pages ------------------------------------------------------------------ */

/* The page id in the record, or NIL. */
static page_id_t id_of(const struct vm *vm, uint64_t frame)
{
	struct pgm_page_view view;

	if (!pgm_page_look(vm->pgm, gfn(frame), &view))
		return PAGE_ID_NIL;
	CHECK(is_ram(vm, frame) && (enum pgm_state)view.kind == state_of(vm, frame));
	return view.id;
}

/* Mostly the page id in the record, sometimes another. */
static page_id_t id_guess(const struct vm *vm, uint64_t frame)
{
	return below(8) ? id_of(vm, frame) : (page_id_t){ (uint32_t)below(GMM_PAGE_ID_LAST) };
}

static bool is_in_state(const struct vm *vm, uint64_t frame, page_id_t id, enum pgm_state state)
{
	return is_ram(vm, frame) && state_of(vm, frame) == state && id_of(vm, frame).raw == id.raw;
}

static void page_monitor(struct vm *vm, uint64_t frame, page_id_t id)
{
	bool is_right = is_in_state(vm, frame, id, PGM_STATE_NORMAL);
	if (is_right && is_ahead(vm, frame))
		model_use(vm, frame);
	q_status_t status = pgm_page_monitor(vm->pgm, gfn(frame), id);

	CHECK(status == (is_right ? Q_OK : Q_STATE));
	if (is_right)
		vm->states[frame] = PGM_STATE_MONITORED;
}

static void page_unmonitor(struct vm *vm, uint64_t frame, page_id_t id)
{
	bool is_right = is_in_state(vm, frame, id, PGM_STATE_MONITORED);
	q_status_t status = pgm_page_unmonitor(vm->pgm, gfn(frame), id);

	CHECK(status == (is_right ? Q_OK : Q_STATE));
	if (is_right)
		vm->states[frame] = PGM_STATE_NORMAL;
}

static void page_zero(struct vm *vm, uint64_t frame, page_id_t id)
{
	bool is_right = (is_in_state(vm, frame, id, PGM_STATE_NORMAL) ||
			 is_in_state(vm, frame, id, PGM_STATE_MONITORED)) &&
			vm->tags[frame] == 0;
	if (is_right && is_ahead(vm, frame))
		model_use(vm, frame);
	q_status_t status = pgm_page_zero(vm->pgm, gfn(frame), id);

	CHECK(status == (is_right ? Q_OK : Q_STATE));
	if (is_right)
		model_release(vm, frame, PGM_STATE_ZERO);
}

static void page_move(struct vm *vm, uint64_t frame, page_id_t id)
{
	bool is_right = is_in_state(vm, frame, id, PGM_STATE_NORMAL) ||
			is_in_state(vm, frame, id, PGM_STATE_MONITORED);
	bool was_ahead = is_ahead(vm, frame);
	q_status_t status = pgm_page_move(vm->pgm, gfn(frame), id);

	if (status == Q_OK && was_ahead)
		model_use(vm, frame);
	if (!is_right) {
		CHECK(status == Q_STATE);
		return;
	}
	CHECK(status == Q_OK || status == Q_NOT_FOUND || status == Q_NO_MEMORY ||
	      status == Q_LIMIT);
	CHECK((status == Q_OK) == (id_of(vm, frame).raw != id.raw));
}

/* --- merging: one step a call, in the order of the scanner ------------------------------------ */

enum merge_step {
	MERGE_NONE,
	MERGE_MONITOR_FIRST,
	MERGE_MONITOR_SECOND,
	MERGE_COPY,
	MERGE_SHARE_FIRST,
	MERGE_SHARE_SECOND,
	MERGE_END,
};

static void merge_end(struct merge *merge)
{
	unsigned done;

	if (!page_id_is_nil(merge->shared))
		CHECK(gmm_shared_put(GMM_VM_QUIRE, &merge->shared, 1, &done) == Q_OK && done == 1);
	*merge = (struct merge){ .step = MERGE_NONE };
}

/* --- proposals of the working set */

#define SHARE_BYTES (2 * PAGE_SIZE)

/* The first two VMs are in one group, the others in another. */
static share_group_t group_of(const struct vm *vm)
{
	return vm - vms < 2 ? 1 : 2;
}

/* The groups of shared pages given to the working set; a later page may overwrite an entry. */
#define GIVEN_COUNT 65536u

static struct {
	page_id_t id;
	share_group_t group;
} given[GIVEN_COUNT];

static void given_note(page_id_t id, share_group_t group)
{
	given[id.raw % GIVEN_COUNT].id = id;
	given[id.raw % GIVEN_COUNT].group = group;
}

static bool was_given_to(page_id_t id, share_group_t group)
{
	return given[id.raw % GIVEN_COUNT].id.raw != id.raw ||
	       given[id.raw % GIVEN_COUNT].group == group;
}

static struct share_page share_page_of(const struct vm *vm, uint64_t frame, page_id_t id)
{
	return (struct share_page){ .vm = pgm_vm(vm->pgm),
				    .group = group_of(vm),
				    .gfn = gfn(frame),
				    .id = id,
				    .is_settled = below(4) > 0 };
}

static struct vm *vm_of(gmm_vm_t handle)
{
	for (unsigned i = 0; i < VM_COUNT; i++)
		if (vms[i].pgm && pgm_vm(vms[i].pgm) == handle)
			return &vms[i];
	return NULL;
}

static void side_set(struct merge *merge, unsigned side, struct vm *vm, uint64_t frame)
{
	merge->sides[side].vm = vm;
	merge->sides[side].frame = frame;
	merge->sides[side].id = id_of(vm, frame);
}

/* The candidate's VM may be gone by now, or its handle may be another VM's. */
static void pair_begin(struct merge *merge)
{
	struct vm *other = vm_of(merge->match.other_vm);
	uint64_t frame = merge->match.other_gfn.raw;

	if (!other || group_of(other) != merge->match.group || !is_ram(other, frame) ||
	    other->states[frame] != PGM_STATE_NORMAL) {
		share_forget(&merge->match);
		return;
	}
	side_set(merge, 1, other, frame);
	/* By key or by content: pgm_page_share() compares the contents in any case. */
	if (below(2) ? share_is_like(&merge->match, merge->sides[1].id)
		     : share_compare(&merge->match, merge->sides[0].id, merge->sides[1].id) ==
			       SHARE_EQUAL)
		merge->step = MERGE_MONITOR_FIRST;
}

/* A join needs no second owner: both sides are the same page. */
static void join_begin(struct merge *merge)
{
	page_id_t shared = merge->match.shared;

	CHECK(was_given_to(shared, merge->match.group));
	if (share_compare(&merge->match, merge->sides[0].id, shared) != SHARE_EQUAL ||
	    gmm_shared_get(GMM_VM_QUIRE, shared) != Q_OK)
		return;
	merge->shared = shared;
	merge->tag = merge->sides[0].vm->tags[merge->sides[0].frame];
	merge->sides[1] = merge->sides[0];
	merge->step = MERGE_MONITOR_FIRST;
}

/* Asks the working set about a page, like the scanner, and begins what it advises. */
static void merge_propose(struct merge *merge)
{
	struct vm *vm = &vms[below(VM_COUNT)];
	uint64_t frame = vm->pgm ? (below(4) ? below(8) : below(vm->frame_end)) : 0;

	if (!vm->pgm || !is_ram(vm, frame) || vm->states[frame] != PGM_STATE_NORMAL)
		return;
	side_set(merge, 0, vm, frame);
	struct share_page page = share_page_of(vm, frame, merge->sides[0].id);
	merge->match = share_look(&page);
	merge->is_proposed = true;
	CHECK(merge->match.advice == SHARE_NOTHING || merge->match.advice == SHARE_ZERO ||
	      merge->match.group == group_of(vm));
	proposed += merge->match.advice != SHARE_NOTHING;
	switch (merge->match.advice) {
	case SHARE_NOTHING: return;
	case SHARE_ZERO:
		CHECK(vm->tags[frame] == 0);
		page_zero(vm, frame, page.id);
		return;
	case SHARE_JOIN: join_begin(merge); return;
	case SHARE_PAIR: pair_begin(merge); return;
	}
}

/* If a page was exchanged, gives Quire's reference to the shared page to the working set. */
static void merge_keep(struct merge *merge)
{
	if (!merge->is_proposed || merge->match.advice != SHARE_PAIR || !merge->is_exchanged)
		return;
	given_note(merge->shared, merge->match.group);
	share_add(&merge->match, merge->shared);
	merge->shared = PAGE_ID_NIL;
}

/* Begins a merge of two random private pages, which may differ. */
static void merge_begin(struct merge *merge)
{
	for (unsigned i = 0; i < 2; i++) {
		struct vm *vm = &vms[below(VM_COUNT)];
		if (!vm->pgm)
			return;
		uint64_t frame = below(4) ? below(8) : below(vm->frame_end);
		if (!is_ram(vm, frame) || !is_private(vm, frame))
			return;
		merge->sides[i].vm = vm;
		merge->sides[i].frame = frame;
		merge->sides[i].id = id_of(vm, frame);
	}
	if (merge->sides[0].vm == merge->sides[1].vm &&
	    merge->sides[0].frame == merge->sides[1].frame)
		return;
	merge->step = MERGE_MONITOR_FIRST;
}

/* Makes the shared page from the first side, if that still is the same page. */
static void merge_copy(struct merge *merge)
{
	struct vm *vm = merge->sides[0].vm;
	uint64_t frame = merge->sides[0].frame;
	struct gmm_page page;

	/* A join: the shared page exists. */
	if (!page_id_is_nil(merge->shared))
		return;
	if (!is_in_state(vm, frame, merge->sides[0].id, PGM_STATE_MONITORED) ||
	    gmm_shared_alloc(&page) != Q_OK) {
		merge_end(merge);
		return;
	}
	merge->shared = page.id;
	merge->tag = vm->tags[frame];
	gmm_page_copy(page.id, merge->sides[0].id);
}

static void merge_share(struct merge *merge, unsigned side)
{
	struct vm *vm = merge->sides[side].vm;
	uint64_t frame = merge->sides[side].frame;
	page_id_t id = merge->sides[side].id;
	bool is_right =
		is_in_state(vm, frame, id, PGM_STATE_MONITORED) && vm->tags[frame] == merge->tag;
	q_status_t status = pgm_page_share(vm->pgm, gfn(frame), id, merge->shared);

	CHECK(status == (is_right ? Q_OK : Q_STATE));
	if (!is_right)
		return;
	vm->states[frame] = PGM_STATE_SHARED;
	vm->private_pages--;
	vm->shared_pages++;
	merged++;
	merge->is_exchanged = true;
	if (merge->is_proposed) {
		struct share_page page = share_page_of(vm, frame, id);
		share_merged(&page);
	}
}

static void merge_advance(struct merge *merge)
{
	switch ((enum merge_step)merge->step) {
	case MERGE_NONE:
		*merge = (struct merge){ .step = MERGE_NONE };
		if (below(2))
			merge_propose(merge);
		else
			merge_begin(merge);
		return;
	case MERGE_MONITOR_FIRST:
	case MERGE_MONITOR_SECOND: {
		unsigned side = merge->step - MERGE_MONITOR_FIRST;
		page_monitor(merge->sides[side].vm, merge->sides[side].frame,
			     merge->sides[side].id);
		break;
	}
	case MERGE_COPY:
		merge_copy(merge);
		if (merge->step == MERGE_NONE)
			return;
		break;
	case MERGE_SHARE_FIRST: merge_share(merge, 0); break;
	case MERGE_SHARE_SECOND: merge_share(merge, 1); break;
	case MERGE_END:
		merge_keep(merge);
		merge_end(merge);
		return;
	}
	merge->step++;
}

/* --- the balloon and restoring ------------------------------------------------------------------ */

#define LIST_MAX 24u

static uint64_t frame_choose(const struct vm *vm);

/* A list from a guest: it may name pages twice, and frames that are not RAM. */
static unsigned list_choose(const struct vm *vm, gfn_t *gfns)
{
	unsigned count = (unsigned)below(LIST_MAX);

	for (unsigned i = 0; i < count; i++)
		gfns[i] = gfn(frame_choose(vm));
	return count;
}

static void balloon_inflate(struct vm *vm)
{
	gfn_t gfns[LIST_MAX];
	unsigned count = list_choose(vm, gfns), expected = 0, done;

	for (unsigned i = 0; i < count; i++) {
		uint64_t frame = gfns[i].raw;
		if (!is_ram(vm, frame) || vm->states[frame] == PGM_STATE_BALLOONED)
			continue;
		if (is_ahead(vm, frame))
			model_use(vm, frame);
		model_release(vm, frame, PGM_STATE_BALLOONED);
		expected++;
	}
	pgm_balloon_inflate(vm->pgm, gfns, count, &done);
	CHECK(done == expected);
}

static void balloon_deflate(struct vm *vm)
{
	gfn_t gfns[LIST_MAX];
	unsigned count = list_choose(vm, gfns), expected = 0, done;

	for (unsigned i = 0; i < count; i++) {
		uint64_t frame = gfns[i].raw;
		if (!is_ram(vm, frame) || vm->states[frame] != PGM_STATE_BALLOONED)
			continue;
		model_release(vm, frame, PGM_STATE_ZERO);
		expected++;
	}
	pgm_balloon_deflate(vm->pgm, gfns, count, &done);
	CHECK(done == expected);
}

static void vm_forget(struct vm *vm);

/* Restores a state with a few pages that are not zero, or with more than there is room for. */
static void vm_restore(struct vm *vm)
{
	static uint8_t content[PAGE_SIZE];
	uint64_t want = below(4) ? below(64) : below(4096);
	q_status_t status = pgm_restore_begin(vm->pgm, want);

	CHECK(status == Q_OK || status == Q_NO_MEMORY || status == Q_LIMIT);
	if (status != Q_OK)
		return;
	vm_forget(vm);
	for (uint64_t frame = 0; frame < vm->frame_end && want > 0; frame++) {
		if (!is_ram(vm, frame) || below(3) == 0)
			continue;
		vm->tags[frame] = tag_random();
		memcpy(content + TAG_OFFSET, &vm->tags[frame], sizeof(uint64_t));
		CHECK(pgm_restore_page(vm->pgm, gfn(frame), content) == Q_OK);
		CHECK(pgm_restore_page(vm->pgm, gfn(frame), content) == Q_STATE);
		vm->states[frame] = PGM_STATE_NORMAL;
		vm->private_pages++;
		want--;
	}
	pgm_restore_end(vm->pgm);
}

/* --- handlers ------------------------------------------------------------------------------------ */

/* Counts the pages of [first, first + count) that are memory, and those with a handler. */
static void handlers_count(const struct vm *vm, uint64_t first, uint64_t count, uint64_t *memory,
			   uint64_t *handled)
{
	*memory = *handled = 0;
	for (uint64_t frame = first; frame < first + count; frame++) {
		*memory += is_memory(vm, frame);
		*handled += vm->handlers[frame] != PGM_HANDLER_NONE;
	}
}

static void handler_add(struct vm *vm, uint64_t first, uint64_t count)
{
	enum pgm_handler_kind kind = below(2) ? PGM_HANDLER_WRITE : PGM_HANDLER_ALL;
	uint64_t memory, handled;
	bool was_ahead[FRAME_COUNT];

	handlers_count(vm, first, count, &memory, &handled);
	for (uint64_t i = 0; i < count; i++)
		was_ahead[i] = is_ahead(vm, first + i);
	/* The tag is the kind, so that ranges join. */
	q_status_t status =
		pgm_handler_add(vm->pgm, gpa(first << PAGE_SHIFT), count << PAGE_SHIFT, kind, kind);
	if (memory < count)
		CHECK(status == Q_RANGE);
	else if (handled > 0)
		CHECK(status == Q_CONFLICT);
	else
		CHECK(status == Q_OK || status == Q_LIMIT);
	if (status != Q_OK)
		return;
	memset(&vm->handlers[first], kind, count);
	for (uint64_t i = 0; i < count; i++)
		if (was_ahead[i])
			model_use(vm, first + i);
}

static void handler_remove(struct vm *vm, uint64_t first, uint64_t count)
{
	uint64_t memory, handled;

	handlers_count(vm, first, count, &memory, &handled);
	q_status_t status =
		pgm_handler_remove(vm->pgm, gpa(first << PAGE_SHIFT), count << PAGE_SHIFT);
	CHECK(status == Q_LIMIT || (status == Q_OK) == (handled > 0));
	if (status == Q_OK)
		memset(&vm->handlers[first], PGM_HANDLER_NONE, count);
}

/* --- the life of a VM ------------------------------------------------------------------------- */

static void vm_forget(struct vm *vm)
{
	memset(vm->states, 0, sizeof(vm->states)); /* ZERO */
	memset(vm->tags, 0, sizeof(vm->tags));
	memset(vm->rom_modes, 0, sizeof(vm->rom_modes));
	vm->private_pages = vm->rom_shadow_pages = 0;
	vm->shared_pages = 0;
	vm->ballooned_pages = 0;
	vm->handy = 0;
}

/* Ends all merges with pages of a VM that is going to be destroyed. */
static void merges_forget(const struct vm *vm)
{
	for (unsigned i = 0; i < MERGE_COUNT; i++)
		if (merges[i].step && (merges[i].sides[0].vm == vm || merges[i].sides[1].vm == vm))
			merge_end(&merges[i]);
}

static void vm_create(struct vm *vm)
{
	/* RAM mostly ends just above 1 MiB; one VM in four has a block that can be large. */
	uint64_t frames = below(16) ? HIGH_START + below(64) : 1 + below(FRAME_COUNT);
	if (below(4) == 0)
		frames = FRAME_COUNT;
	struct pgm_config config = {
		.format = below(2) ? &slat_npt : &slat_ept,
		.ram_bytes = frames << PAGE_SHIFT,
		.guaranteed_bytes = below(2) ? below(frames + 1) << PAGE_SHIFT : 0,
		.overcommit = (enum gmm_overcommit)below(3),
		.has_dirty_bits = below(4) > 0,
		.works_ahead = below(4) > 0,
	};
	struct pgm *pgm;

	q_status_t status = pgm_create(&config, &pgm);
	CHECK(status == Q_OK || status == Q_DECLINED);
	if (status != Q_OK)
		return;
	memset(vm, 0, sizeof(*vm));
	vm->pgm = pgm;
	vm->format = config.format;
	vm->frame_end = frames;
	vm->overcommit = config.overcommit;
}

static void vm_destroy(struct vm *vm)
{
	merges_forget(vm);
	pgm_destroy(vm->pgm);
	vm->pgm = NULL;
}

static void vm_reset(struct vm *vm)
{
	pgm_reset(vm->pgm);
	vm_forget(vm);
}

/* ROM goes below 1 MiB, where the model has tags for it. */
static void vm_rom_add(struct vm *vm)
{
	static uint8_t image[32 * PAGE_SIZE];
	uint64_t start = LOW_END + below(64), count = 1 + below(32);
	uint64_t tags[32];

	memset(image, 0, sizeof(image));
	for (uint64_t i = 0; i < count; i++) {
		tags[i] = random_next();
		memcpy(image + i * PAGE_SIZE + TAG_OFFSET, &tags[i], sizeof(uint64_t));
	}
	bool is_available = gmm_pages_available(pgm_vm(vm->pgm), count) == count;
	gpa_t at = gpa(start << PAGE_SHIFT);
	bool is_shadowed = below(2);
	q_status_t status = is_shadowed
				    ? pgm_rom_add_shadowed(vm->pgm, at, image, count * PAGE_SIZE)
				    : pgm_rom_add(vm->pgm, at, image, count * PAGE_SIZE);
	if (vm->rom_end > 0) {
		bool overlaps = start < vm->rom_end && vm->rom_start < start + count;
		/* The model has one ROM only: a VM that got a second one is destroyed. */
		CHECK(vm->device || (status == Q_CONFLICT) == overlaps);
		if (status == Q_OK)
			vm_destroy(vm);
		return;
	}
	if (vm->device) {
		CHECK(status == Q_CONFLICT || status == Q_STATE);
		return;
	}
	if (is_shadowed)
		CHECK(status == Q_OK || status == Q_DECLINED ||
		      (status == Q_NO_MEMORY && !is_available));
	else
		CHECK(status == (is_available ? Q_OK : Q_NO_MEMORY) || status == Q_LIMIT);
	if (status != Q_OK)
		return;
	vm->rom_start = start;
	vm->rom_end = start + count;
	vm->is_rom_shadowed = is_shadowed;
	memcpy(&vm->rom_tags[start], tags, count * sizeof(uint64_t));
}

static void vm_rom_mode_set(struct vm *vm)
{
	uint64_t pages = vm->rom_end - vm->rom_start;
	uint64_t first = vm->rom_start + (pages ? below(pages) : 0), count = 1 + below(8);
	enum pgm_rom_mode mode = (enum pgm_rom_mode)below(4);
	bool is_inside = vm->is_rom_shadowed && first + count <= vm->rom_end;

	q_status_t status =
		pgm_rom_mode_set(vm->pgm, gpa(first << PAGE_SHIFT), count << PAGE_SHIFT, mode);
	CHECK(status == (is_inside ? Q_OK : Q_STATE));
	if (status == Q_OK)
		memset(&vm->rom_modes[first], mode, count);
}

static void vm_refill(struct vm *vm)
{
	unsigned want = PGM_HANDY_MAX - vm->handy;
	unsigned least = (unsigned)gmm_pages_available(pgm_vm(vm->pgm), want);
	unsigned ahead = ahead_count(vm);
	struct pgm_stats stats;
	q_status_t status = pgm_handy_refill(vm->pgm);

	/* More pages than were available before, if the refill dropped references to shared ones. */
	pgm_stats(vm->pgm, &stats);
	unsigned handy = (unsigned)stats.handy + ahead_count(vm);
	CHECK(handy >= vm->handy + least && handy <= PGM_HANDY_MAX);
	/* Taking back what was handed out ahead is as good as getting pages. */
	CHECK((status == Q_OK) == (handy > vm->handy || ahead > 0 || vm->handy == PGM_HANDY_MAX));
	vm->handy = handy;
	CHECK(pgm_handy_is_low(vm->pgm) == (stats.handy <= PGM_HANDY_LOW));
}

/* --- device memory ------------------------------------------------------------------------------ */

static void device_add(struct vm *vm)
{
	q_status_t status = pgm_device_add(vm->pgm, DEVICE_PAGES * PAGE_SIZE, &vm->device);

	CHECK(status == Q_OK || status == Q_DECLINED);
}

/* While the device is mapped its tags are in its pages, else only in the model. */
static void device_tags_move(struct vm *vm, bool is_mapped)
{
	for (uint64_t i = 0; i < DEVICE_PAGES; i++) {
		uint8_t *page = pgm_device_page(vm->pgm, vm->device, i);
		uint64_t *tag = (uint64_t *)(page + TAG_OFFSET);
		CHECK(*tag == (is_mapped ? 0 : vm->device_tags[i]));
		*tag = is_mapped ? vm->device_tags[i] : 0;
	}
}

/* Maps it into the hole below 1 MiB or above RAM, or onto something that is there. */
static void device_map(struct vm *vm)
{
	uint64_t start =
		below(2) ? LOW_END - 8 + below(HIGH_START - LOW_END) : vm->frame_end + below(64);
	bool is_free = true;

	if (start > FRAME_COUNT - DEVICE_PAGES)
		return;
	for (uint64_t frame = start; frame < start + DEVICE_PAGES; frame++)
		is_free &= !is_memory(vm, frame);
	q_status_t status = pgm_device_map(vm->pgm, vm->device, gpa(start << PAGE_SHIFT));
	CHECK(status == (vm->device_start ? Q_STATE : is_free ? Q_OK : Q_CONFLICT));
	if (status != Q_OK)
		return;
	vm->device_start = start;
	device_tags_move(vm, true);
}

static void device_unmap(struct vm *vm)
{
	bool has_handler = false;

	for (uint64_t i = 0; vm->device_start && i < DEVICE_PAGES; i++)
		has_handler |= vm->handlers[vm->device_start + i] != PGM_HANDLER_NONE;
	q_status_t status = pgm_device_unmap(vm->pgm, vm->device);
	CHECK(status == (vm->device_start && !has_handler ? Q_OK : Q_STATE));
	if (status != Q_OK)
		return;
	device_tags_move(vm, false);
	vm->device_start = 0;
}

static void device_track(struct vm *vm, bool is_tracked)
{
	q_status_t status = is_tracked ? pgm_device_track_start(vm->pgm, vm->device)
				       : pgm_device_track_stop(vm->pgm, vm->device);

	CHECK(status == (is_tracked != vm->is_device_tracked ? Q_OK : Q_STATE));
	vm->is_device_tracked = is_tracked;
	if (status == Q_OK)
		memset(vm->is_device_dirty, 0, sizeof(vm->is_device_dirty));
}

static void device_dirty_take(struct vm *vm)
{
	uint64_t first = below(DEVICE_PAGES), count = 1 + below(DEVICE_PAGES - first);
	uint64_t bitmap = ~0ull, expected = 0;

	q_status_t status = pgm_device_dirty_take(vm->pgm, vm->device, first, count, &bitmap);
	CHECK(status == (vm->is_device_tracked ? Q_OK : Q_STATE));
	if (status != Q_OK)
		return;
	for (uint64_t i = 0; i < count; i++)
		expected |= (uint64_t)vm->is_device_dirty[first + i] << i;
	CHECK(bitmap == expected);
	memset(&vm->is_device_dirty[first], 0, count);
}

static void device_operate(struct vm *vm)
{
	if (!vm->device) {
		device_add(vm);
		return;
	}
	switch (below(6)) {
	case 0:
	case 1: device_map(vm); return;
	case 2: device_unmap(vm); return;
	case 3: device_track(vm, below(4)); return;
	default: device_dirty_take(vm); return;
	}
}

/* --- memory pressure ----------------------------------------------------------------------------- */

static void hog_take(void)
{
	uint64_t count = gmm_pages_available(hog, below(32) ? 1 + below(64) : HOG_PAGES_MAX);

	for (; count > 0; count--) {
		struct gmm_page page;
		CHECK(gmm_pages_alloc(hog, &page, 1) == Q_OK);
		memset(fake_ram_peek(hfn_to_hpa(page.frame)), 0xd1, PAGE_SIZE);
		hog_pages[hog_count++] = page.id;
	}
}

/* Sometimes starts or stops keeping pages from VMs, for merging. */
static void sharing_keep(void)
{
	if (below(8) == 0)
		gmm_shared_keep(below(2) ? GMM_PAGES_PER_CHUNK : 0);
}

static void hog_give(void)
{
	uint64_t count = below(32) ? below(64) : hog_count;
	unsigned done;

	for (; count > 0 && hog_count > 0; count--) {
		uint64_t i = below(hog_count);
		CHECK(gmm_pages_free(hog, &hog_pages[i], 1, &done) == Q_OK && done == 1);
		hog_pages[i] = hog_pages[--hog_count];
	}
}

/* --- operations ------------------------------------------------------------------------------------ */

/* Half of the time one of a few frames, so that operations meet the effects of others. */
static uint64_t frame_choose(const struct vm *vm)
{
	const uint64_t edges[] = { 0,          LOW_END - 1,       LOW_END,       HIGH_START - 1,
				   HIGH_START, vm->frame_end - 1, vm->frame_end, FRAME_COUNT - 1 };

	switch (below(16)) {
	case 0: return edges[below(ARRAY_COUNT(edges))];
	case 1: return below(FRAME_COUNT);
	case 9: return PAGES_PER_LARGE + below(4);
	case 2: return vm->rom_start + below(32);
	case 3: return random_next() >> (PAGE_SHIFT + below(30));
	case 4:
	case 5:
	case 6:
	case 7: return below(vm->frame_end);
	case 8: return vm->device_start + below(DEVICE_PAGES);
	default: return below(8);
	}
}

/* Host writes touch up to three pages in a row: far frames must not reach the model's arrays. */
static uint64_t frame_for_host_write(const struct vm *vm)
{
	uint64_t frame = frame_choose(vm);
	return frame < FRAME_COUNT ? frame : FRAME_COUNT + frame % 4096;
}

static void page_operate(struct vm *vm, uint64_t frame)
{
	page_id_t id = id_guess(vm, frame);

	switch (below(8)) {
	case 0: page_monitor(vm, frame, id); return;
	case 1: page_unmonitor(vm, frame, id); return;
	case 2: page_zero(vm, frame, id); return;
	case 3: page_move(vm, frame, id); return;
	case 4: balloon_inflate(vm); return;
	case 5: balloon_deflate(vm); return;
	case 6: pgm_dirty_note(vm->pgm, gfn(frame), (unsigned)below(64)); return;
	default:
		if (below(16) == 0)
			vm_restore(vm);
	}
}

static void handler_change(struct vm *vm)
{
	uint64_t first = frame_choose(vm) % FRAME_COUNT, room = FRAME_COUNT - first;
	uint64_t count = 1 + below(room < 8 ? room : 8);

	if (below(2))
		handler_add(vm, first, count);
	else
		handler_remove(vm, below(8) ? first : 0, below(8) ? count : FRAME_COUNT - first);
}

/* The guest goes through several pages in a row, up or down. */
static void guest_run(struct vm *vm)
{
	uint64_t frame = below(vm->frame_end), step = below(2) ? 1 : ~0ull;
	uint64_t count = below(80);

	for (; count > 0 && frame < vm->frame_end; count--, frame += step)
		if (below(16))
			guest_write(vm, frame);
		else
			guest_read(vm, frame, MEM_READ);
}

static void vm_operate(struct vm *vm)
{
	uint64_t choice = below(1000);

	if (choice < 5)
		vm_destroy(vm);
	else if (choice < 12)
		vm_reset(vm);
	else if (choice < 20)
		vm_rom_add(vm);
	else if (choice < 60)
		vm_refill(vm);
	else if (choice < 80)
		handler_change(vm);
	else if (choice < 100)
		vm_rom_mode_set(vm);
	else if (choice < 130)
		device_operate(vm);
	else if (choice < 170)
		page_operate(vm, frame_choose(vm));
	else if (choice < 175)
		pgm_ahead_rest(vm->pgm);
	else if (choice < 190)
		guest_run(vm);
	else if (choice < 210)
		host_write(vm, frame_for_host_write(vm));
	else if (choice < 240)
		host_read(vm, frame_choose(vm));
	else if (choice < 600)
		guest_write(vm, frame_choose(vm));
	else
		guest_read(vm, frame_choose(vm), below(4) ? MEM_READ : MEM_EXEC);
}

/* Ages the working set; rarely drops all of it. */
static void share_age(void)
{
	if (below(2))
		share_pass_begin();
	else if (below(64))
		share_reap();
	else
		share_clear();
}

static void operate(void)
{
	struct vm *vm = &vms[below(VM_COUNT)];

	switch (below(32)) {
	case 0:
		sharing_keep();
		hog_take();
		return;
	case 1: hog_give(); return;
	case 2: gmm_zero_ahead((unsigned)below(64)); return;
	case 3:
	case 4:
	case 5:
	case 6:
	case 7:
	case 8:
	case 9: merge_advance(&merges[below(MERGE_COUNT)]); return;
	case 10: share_age(); return;
	default: break;
	}
	if (vm->pgm)
		vm_operate(vm);
	else
		vm_create(vm);
}

/* --- start and end --------------------------------------------------------------------------------- */

/* Half of the key's bits choose the bucket, the other half are compared. */
static uint64_t key_mask(uint64_t key_bits)
{
	return key_bits < 64 ? ((1ull << key_bits) - 1) << (32 - key_bits / 2) : ~0ull;
}

static void set_up(uint64_t key_bits)
{
	struct gmm_region all = { hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + MACHINE_BYTES) };
	struct gmm_vm_config config = { .pages = { HOG_PAGES_MAX, 0, 0 },
					.overcommit = GMM_OVERCOMMIT_FULL };
	uint64_t metadata_bytes = gmm_metadata_size(&all, 1);
	void *metadata = aligned_alloc(PAGE_SIZE, metadata_bytes);

	CHECK(metadata);
	memset(metadata, 0, metadata_bytes);
	fake_ram_create(MACHINE_BYTES);
	CHECK(gmm_init(&all, 1, metadata) == Q_OK);
	CHECK(gmm_vm_create(&config, &hog) == Q_OK);
	struct share_config share = { .size_bytes = SHARE_BYTES, .key_mask = key_mask(key_bits) };
	void *memory = aligned_alloc(PAGE_SIZE, SHARE_BYTES);
	CHECK(memory);
	memset(memory, 0, SHARE_BYTES);
	share_init(&share, memory);
}

/* Destroys all VMs; nothing may be left of what they had. */
static void tear_down(void)
{
	struct gmm_stats stats;

	for (unsigned i = 0; i < VM_COUNT; i++)
		if (vms[i].pgm)
			vm_destroy(&vms[i]);
	for (unsigned i = 0; i < MERGE_COUNT; i++)
		merge_end(&merges[i]);
	share_clear();
	gmm_vm_destroy(hog);
	gmm_check();
	gmm_stats(&stats);
	CHECK(stats.private_pages == 0 && stats.kernel_pages == 0 && stats.vm_count == 0);
	CHECK(stats.shared_pages == 0 && stats.shared_references == 0);
}

int main(int argc, char **argv)
{
	uint64_t operations = argc > 1 ? strtoull(argv[1], NULL, 0) : 20000;

	uint64_t between = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;

	seed = argc > 2 ? strtoull(argv[2], NULL, 0)
			: (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
	random_state = seed;
	signal(SIGABRT, on_abort);
	printf("mm_fuzz: seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	set_up(argc > 4 ? strtoull(argv[4], NULL, 0) : 64);
	for (operation = 0; operation < operations; operation++) {
		operate();
		if (operation % between == 0)
			audit();
	}
	tear_down();
	printf("mm_fuzz: %llu operations, %llu audits, %llu pages proposed, %llu merged, "
	       "%llu chunks as blocks, %llu used ahead, seed %llu: ok\n",
	       (unsigned long long)operations, (unsigned long long)audits,
	       (unsigned long long)proposed, (unsigned long long)merged,
	       (unsigned long long)blocks_backed, (unsigned long long)ahead_used,
	       (unsigned long long)seed);
	return 0;
}
