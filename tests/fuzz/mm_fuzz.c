/* SPDX-License-Identifier: MIT */
/*
 * Model-based fuzzer for GMM and PGM together.
 *
 * A few small VMs on a small machine do what VMs do: they read, write and
 * execute memory as guests, through vCPUs that cache every translation as long
 * as the contract allows; the hypervisor reads and writes for them; they get
 * ROM, are reset, destroyed and made again; and a hog takes and returns what
 * memory is left, dirtied.
 *
 * The model knows for each guest page whether it was written and the one word
 * in it that is not zero. After each operation every book is audited:
 * gmm_check(), pgm_check() of each VM, and each page against the model.
 *
 *     mm_fuzz [operations] [seed]
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
#include "mm/pgm/pgm_internal.h"

#include "nested_walk.h"
#include "seam/seam.h"

#define MACHINE_BYTES (16ull << 20)
#define VM_COUNT      3u
#define VCPU_COUNT    2u
#define FRAME_COUNT   1024u /* RAM of a VM is below 4 MiB */
#define HOG_PAGES_MAX (MACHINE_BYTES / PAGE_SIZE)

#define LOW_END    160u /* guest frames: 640 KiB */
#define HIGH_START 256u /* 1 MiB */

/* A translation is good as long as the vCPU's generation is the table's. */
struct tlb_entry {
	uint64_t generation;
	struct nested_result translation;
};

struct vcpu {
	uint64_t generation; /* at its last entry */
	struct tlb_entry tlb[FRAME_COUNT];
};

struct vm {
	struct pgm *pgm; /* NULL: there is no such VM now */
	const struct slat_format *format;
	uint64_t frame_end; /* of RAM */
	uint64_t rom_start, rom_end;
	unsigned handy; /* pages in the stock */
	unsigned private_pages;
	uint64_t tags[FRAME_COUNT];  /* of RAM or ROM; 0: the page is all zero */
	bool is_backed[FRAME_COUNT]; /* RAM only: it was written */
	struct vcpu vcpus[VCPU_COUNT];
};

static struct vm vms[VM_COUNT];
static gmm_vm_t hog;
static page_id_t hog_pages[HOG_PAGES_MAX];
static unsigned hog_count;

static uint64_t seed, operation, audits;
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

static uint64_t tag_offset(uint64_t frame)
{
	return (frame * 296 + 40) % PAGE_SIZE & ~7ull;
}

static uint64_t tag_address(uint64_t frame)
{
	return (frame << PAGE_SHIFT) + tag_offset(frame);
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

static bool is_memory(const struct vm *vm, uint64_t frame)
{
	return is_ram(vm, frame) || is_rom(vm, frame);
}

static enum pgm_outcome expected_outcome(const struct vm *vm, uint64_t frame,
					 enum mem_access access)
{
	if (!is_memory(vm, frame))
		return PGM_MMIO;
	if (access != MEM_WRITE)
		return PGM_RESOLVED;
	if (is_rom(vm, frame))
		return PGM_DENIED;
	return vm->is_backed[frame] || vm->handy > 0 ? PGM_RESOLVED : PGM_NO_MEMORY;
}

/* A write took the page from the stock. */
static void model_back(struct vm *vm, uint64_t frame)
{
	if (vm->is_backed[frame])
		return;
	CHECK(vm->handy > 0);
	vm->handy--;
	vm->private_pages++;
	vm->is_backed[frame] = true;
}

/* What a refill must get, asked before it. */
static unsigned model_refill(const struct vm *vm)
{
	unsigned want = PGM_HANDY_MAX - vm->handy;
	return (unsigned)gmm_pages_available(pgm_vm(vm->pgm), want);
}

/* --- audit ------------------------------------------------------------------------------ */

static void audit_vm(const struct vm *vm)
{
	struct pgm_stats stats;

	pgm_check(vm->pgm);
	pgm_stats(vm->pgm, &stats);
	CHECK(stats.private_pages == vm->private_pages && stats.handy == vm->handy);
	CHECK(stats.zero + stats.private_pages == stats.pages);
	CHECK(stats.rom == vm->rom_end - vm->rom_start);
	for (uint64_t frame = 0; frame < vm->frame_end; frame++) {
		if (!is_memory(vm, frame))
			continue;
		struct pgm_record record = *pgm_record_find(vm->pgm, gfn(frame));
		bool is_zero = pgm_record_state(record) == PGM_STATE_ZERO;
		CHECK(is_zero == (is_ram(vm, frame) && !vm->is_backed[frame]));
		if (is_zero)
			continue; /* and pgm_check() saw that the zero page is zero */
		hpa_t page = hfn_to_hpa(pgm_record_frame(record));
		uint64_t *tag = fake_ram_peek(hpa_add(page, tag_offset(frame)));
		CHECK(*tag == vm->tags[frame]);
	}
}

static void audit(void)
{
	for (unsigned i = 0; i < VM_COUNT; i++)
		if (vms[i].pgm)
			audit_vm(&vms[i]);
	gmm_check();
	audits++;
}

/* One page, all of it, as the hypervisor reads it. */
static void audit_page(const struct vm *vm, uint64_t frame)
{
	static uint8_t page[PAGE_SIZE], expected[PAGE_SIZE];

	memset(expected, 0, sizeof(expected));
	memcpy(expected + tag_offset(frame), &vm->tags[frame], sizeof(uint64_t));
	CHECK(pgm_read(vm->pgm, gpa(frame << PAGE_SHIFT), page, sizeof(page), NULL) == Q_OK);
	CHECK(memcmp(page, expected, sizeof(page)) == 0);
}

/* --- the guest's accesses ------------------------------------------------------------------ */

static struct nested_result translate(const struct vm *vm, uint64_t frame)
{
	uint64_t root = pgm_slat_root(vm->pgm).raw, addr = frame << PAGE_SHIFT;
	struct nested_result result =
		vm->format == &slat_npt ? nested_walk_npt(root, addr) : nested_walk_ept(root, addr);
	CHECK(!result.is_malformed && !result.is_large);
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

/* A cached translation, from this entry into the guest or an earlier one: it must still be true. */
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

/* Enters the guest, which accesses one page. True: *out_machine is where it went. */
static bool guest_access(struct vm *vm, uint64_t frame, enum mem_access access,
			 uint64_t *out_machine)
{
	struct vcpu *vcpu = &vm->vcpus[below(VCPU_COUNT)];
	struct pgm_fault fault = { gpa(tag_address(frame)), access };

	for (;;) {
		vcpu->generation = pgm_slat_generation(vm->pgm);
		if (frame < FRAME_COUNT) {
			struct tlb_entry *entry = &vcpu->tlb[frame];
			if (!tlb_hit(vm, vcpu, frame, access))
				*entry = (struct tlb_entry){ vcpu->generation,
							     translate(vm, frame) };
			if (allows(&entry->translation, access)) {
				*out_machine = entry->translation.machine;
				return true;
			}
		}
		enum pgm_outcome expected = expected_outcome(vm, frame, access);
		CHECK(pgm_fault_handle(vm->pgm, &fault) == expected);
		if (expected != PGM_RESOLVED)
			return false;
		CHECK(allows((struct nested_result[]){ translate(vm, frame) }, access));
		if (access == MEM_WRITE)
			model_back(vm, frame);
	}
}

static void guest_read(struct vm *vm, uint64_t frame, enum mem_access access)
{
	uint64_t machine;

	if (!guest_access(vm, frame, access, &machine))
		return;
	uint64_t *tag = fake_ram_peek(hpa(machine + tag_offset(frame)));
	CHECK(*tag == vm->tags[frame]);
}

static void guest_write(struct vm *vm, uint64_t frame)
{
	uint64_t machine;

	if (!guest_access(vm, frame, MEM_WRITE, &machine))
		return;
	CHECK(is_ram(vm, frame));
	audit_page(vm, frame); /* above all: a new page is zero */
	vm->tags[frame] = random_next();
	memcpy(fake_ram_peek(hpa(machine + tag_offset(frame))), &vm->tags[frame], sizeof(uint64_t));
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
	CHECK(status == Q_OK && done == sizeof(word) && word == vm->tags[frame]);
	audit_page(vm, frame);
}

/* True: PGM can and must back the page now, refilling the stock if it is empty. */
static bool model_host_write(struct vm *vm, uint64_t frame, unsigned *available)
{
	if (!is_ram(vm, frame))
		return false;
	if (!vm->is_backed[frame] && vm->handy == 0) {
		vm->handy = *available;
		*available = 0;
		if (vm->handy == 0)
			return false;
	}
	model_back(vm, frame);
	return true;
}

/* From the tag of one page to that of the next or the one after, zeros between them. */
static void host_write(struct vm *vm, uint64_t frame)
{
	static uint8_t bytes[3 * PAGE_SIZE];
	uint64_t count = 1 + below(3), end_frame = frame + count;
	uint64_t start = tag_address(frame), end = tag_address(end_frame - 1) + sizeof(uint64_t);
	unsigned available = vm->handy < 3 ? model_refill(vm) : 0;
	uint64_t tags[3], expected_done = 0, done = 0;
	q_status_t expected = Q_OK;

	memset(bytes, 0, sizeof(bytes));
	for (uint64_t i = 0; i < count; i++) {
		tags[i] = random_next();
		memcpy(bytes + (tag_address(frame + i) - start), &tags[i], sizeof(uint64_t));
	}
	for (uint64_t i = 0; i < count && expected == Q_OK; i++) {
		uint64_t page_end = (frame + i + 1) << PAGE_SHIFT;
		if (!model_host_write(vm, frame + i, &available)) {
			expected = is_ram(vm, frame + i) ? Q_NO_MEMORY : Q_RANGE;
			break;
		}
		vm->tags[frame + i] = tags[i];
		expected_done = (page_end < end ? page_end : end) - start;
	}
	q_status_t status = pgm_write(vm->pgm, gpa(start), bytes, end - start, &done);
	CHECK(status == expected && done == expected_done);
}

/* --- the life of a VM ------------------------------------------------------------------------- */

static void vm_forget(struct vm *vm)
{
	memset(vm->is_backed, 0, sizeof(vm->is_backed));
	for (uint64_t frame = 0; frame < FRAME_COUNT; frame++)
		if (!is_rom(vm, frame))
			vm->tags[frame] = 0;
	vm->private_pages = 0;
	vm->handy = 0;
}

static void vm_create(struct vm *vm)
{
	/* Mostly just above 1 MiB; more now and then. */
	uint64_t frames = below(16) ? HIGH_START + below(64) : 1 + below(FRAME_COUNT);
	struct pgm_config config = {
		.format = below(2) ? &slat_npt : &slat_ept,
		.ram_bytes = frames << PAGE_SHIFT,
		.guaranteed_bytes = below(2) ? below(frames + 1) << PAGE_SHIFT : 0,
		.overcommit = (enum gmm_overcommit)below(3),
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
}

static void vm_destroy(struct vm *vm)
{
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
		memcpy(image + i * PAGE_SIZE + tag_offset(start + i), &tags[i], sizeof(uint64_t));
	}
	bool is_available = gmm_pages_available(pgm_vm(vm->pgm), count) == count;
	q_status_t status =
		pgm_rom_add(vm->pgm, gpa(start << PAGE_SHIFT), image, count * PAGE_SIZE);
	if (vm->rom_end > 0) {
		bool overlaps = start < vm->rom_end && vm->rom_start < start + count;
		/* A second ROM would need a second range in the model. */
		CHECK(overlaps ? status == Q_CONFLICT : status != Q_CONFLICT);
		if (status == Q_OK)
			vm_destroy(vm);
		return;
	}
	CHECK(status == (is_available ? Q_OK : Q_NO_MEMORY) || status == Q_LIMIT);
	if (status != Q_OK)
		return;
	vm->rom_start = start;
	vm->rom_end = start + count;
	memcpy(&vm->tags[start], tags, count * sizeof(uint64_t));
}

static void vm_refill(struct vm *vm)
{
	unsigned got = model_refill(vm);
	q_status_t status = pgm_handy_refill(vm->pgm);

	CHECK((status == Q_OK) == (got > 0 || vm->handy == PGM_HANDY_MAX));
	vm->handy += got;
	CHECK(pgm_handy_is_low(vm->pgm) == (vm->handy <= PGM_HANDY_LOW));
}

/* --- memory pressure ----------------------------------------------------------------------------- */

static void hog_take(void)
{
	uint64_t count = gmm_pages_available(hog, below(4) ? 1 + below(64) : HOG_PAGES_MAX);

	for (; count > 0; count--) {
		struct gmm_page page;
		CHECK(gmm_pages_alloc(hog, &page, 1) == Q_OK);
		memset(fake_ram_peek(hfn_to_hpa(page.frame)), 0xd1, PAGE_SIZE);
		hog_pages[hog_count++] = page.id;
	}
}

static void hog_give(void)
{
	uint64_t count = below(4) ? below(64) : hog_count;
	unsigned done;

	for (; count > 0 && hog_count > 0; count--) {
		uint64_t i = below(hog_count);
		CHECK(gmm_pages_free(hog, &hog_pages[i], 1, &done) == Q_OK && done == 1);
		hog_pages[i] = hog_pages[--hog_count];
	}
}

/* --- operations ------------------------------------------------------------------------------------ */

/* Half of the time one of a few, so that vCPUs meet what they and others did before. */
static uint64_t frame_choose(const struct vm *vm)
{
	const uint64_t edges[] = { 0,          LOW_END - 1,       LOW_END,       HIGH_START - 1,
				   HIGH_START, vm->frame_end - 1, vm->frame_end, FRAME_COUNT - 1 };

	switch (below(16)) {
	case 0: return edges[below(ARRAY_COUNT(edges))];
	case 1: return below(FRAME_COUNT);
	case 2: return LOW_END + below(HIGH_START - LOW_END);
	case 3: return random_next() >> (PAGE_SHIFT + below(30));
	case 4:
	case 5:
	case 6:
	case 7: return below(vm->frame_end);
	default: return below(8);
	}
}

/* The model's host writes touch three pages in a row; keep far addresses out of its arrays. */
static uint64_t frame_for_host_write(const struct vm *vm)
{
	uint64_t frame = frame_choose(vm);
	return frame < FRAME_COUNT ? frame : FRAME_COUNT + frame % 4096;
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
	else if (choice < 160)
		host_write(vm, frame_for_host_write(vm));
	else if (choice < 240)
		host_read(vm, frame_choose(vm));
	else if (choice < 600)
		guest_write(vm, frame_choose(vm));
	else
		guest_read(vm, frame_choose(vm), below(4) ? MEM_READ : MEM_EXEC);
}

static void operate(void)
{
	struct vm *vm = &vms[below(VM_COUNT)];

	switch (below(32)) {
	case 0: hog_take(); return;
	case 1: hog_give(); return;
	case 2: gmm_zero_ahead((unsigned)below(64)); return;
	default: break;
	}
	if (vm->pgm)
		vm_operate(vm);
	else
		vm_create(vm);
}

/* --- start and end --------------------------------------------------------------------------------- */

static void set_up(void)
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
}

/* When all VMs are gone, so is all that they had. */
static void tear_down(void)
{
	struct gmm_stats stats;

	for (unsigned i = 0; i < VM_COUNT; i++)
		if (vms[i].pgm)
			vm_destroy(&vms[i]);
	gmm_vm_destroy(hog);
	gmm_check();
	gmm_stats(&stats);
	CHECK(stats.private_pages == 0 && stats.kernel_pages == 0 && stats.vm_count == 0);
}

int main(int argc, char **argv)
{
	uint64_t operations = argc > 1 ? strtoull(argv[1], NULL, 0) : 20000;

	seed = argc > 2 ? strtoull(argv[2], NULL, 0)
			: (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
	random_state = seed;
	signal(SIGABRT, on_abort);
	printf("mm_fuzz: seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	set_up();
	for (operation = 0; operation < operations; operation++) {
		operate();
		audit();
	}
	tear_down();
	printf("mm_fuzz: %llu operations, %llu audits, seed %llu: ok\n",
	       (unsigned long long)operations, (unsigned long long)audits,
	       (unsigned long long)seed);
	return 0;
}
